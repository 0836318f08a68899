"""All that is to be measured on a GPU, in one command: python -m benchmarks.gpu writes benchmarks/gpu.md.

python -m benchmarks.gpu --parts decompositions steps    # some of it; what is there already stays
python -m benchmarks.gpu --quick --device cpu            # tiny sizes on the CPU, to see that it works

What is measured is kept part by part; a run that was interrupted goes on where it was, unless it is --fresh.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

from benchmarks import gpu_parts, layers, scaling
from benchmarks.environment import environment
from benchmarks.gpu_page import page
from benchmarks.resnet import POOLINGS, training_step
from gcp.methods import SPECTRAL

HERE = Path(__file__).resolve().parent
Part = Callable[[argparse.Namespace, torch.device], Any]


def _decompositions(args: argparse.Namespace, device: torch.device) -> Any:
    batches, sizes = ((2,), (5, 12)) if args.quick else ((8, 64, 512), (16, 49, 169, 196, 256))
    return gpu_parts.decompositions(device, batches, sizes, args.repeats)


def _layers(args: argparse.Namespace, device: torch.device) -> Any:
    shapes, batch = (("16x3x3",), 2) if args.quick else (("256x7x7", "256x14x14", "256x28x28"), 64)
    options = argparse.Namespace(methods=list(args.methods), precision="mixed", repeats=args.repeats, budget=20.0)
    return [layers.measure_case(shape, batch, device, options, lambda: None) for shape in shapes]


def _growth(args: argparse.Namespace, device: torch.device) -> Any:
    quick = ["--quick"] if args.quick else []
    options = scaling.parse([*quick, "--device", device.type, "--limit", "1", "--out", str(args.results)])
    options.poolings = ()  # training steps are a part of their own
    return scaling.grow(options, args.results / "gpu_scaling.json")


def _steps(args: argparse.Namespace, device: torch.device) -> Any:
    batch, pixels = (1, 64) if args.quick else (64, 224)
    amp = {"AMP": True} if args.quick else {"AMP": True, "float32": False}
    return [
        {"precision": name, "pooling": pooling, "batch": batch, "pixels": pixels,
         **training_step(pooling, batch, pixels, device, args.repeats, amp=on)}
        for name, on in amp.items()
        for pooling in POOLINGS
    ]  # fmt: skip


def _looks(args: argparse.Namespace, device: torch.device) -> Any:
    return gpu_parts.waits(device, args.quick)


def _collectives(args: argparse.Namespace, device: torch.device) -> Any:
    return gpu_parts.collectives(device, 2**12 if args.quick else gpu_parts.CLASSIFIER, args.repeats)


PARTS: dict[str, Part] = {
    "decompositions": _decompositions,
    "layers": _layers,
    "steps": _steps,
    "looks": _looks,
    "collectives": _collectives,
    "growth": _growth,
}


def parse(arguments: list[str] | None) -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser("benchmarks.gpu", description=__doc__.splitlines()[0])
    parser.add_argument("--parts", nargs="+", default=list(PARTS), choices=list(PARTS))
    parser.add_argument("--methods", nargs="+", default=list(SPECTRAL), choices=list(SPECTRAL))
    parser.add_argument("--repeats", type=int, default=20)
    parser.add_argument("--device", default="cuda", choices=("cuda", "cpu"), help="cpu: only to see that it works")
    parser.add_argument("--fresh", action="store_true", help="measure again what is there")
    parser.add_argument("--quick", action="store_true", help="tiny sizes, two runs")
    parser.add_argument("--out", type=Path, help="folder for JSON and Markdown (default: benchmarks)")
    args = parser.parse_args(arguments)
    if args.quick:
        args.repeats, args.methods = 2, args.methods[:1]
    args.markdown = (args.out or HERE) / "gpu.md"
    args.results = args.out or HERE / "results"
    return args


def main(arguments: list[str] | None = None) -> None:
    """Measure the parts that are not there yet, and write the page after each."""
    args = parse(arguments)
    if args.device == "cuda" and not torch.cuda.is_available():
        raise SystemExit(f"benchmarks.gpu measures on a GPU, and torch {torch.__version__} finds none on this machine")
    args.results.mkdir(parents=True, exist_ok=True)
    path = args.results / "gpu.json"
    facts = environment()
    machine = {name: value for name, value in facts.items() if name != "date"} | {"quick": args.quick}
    report: dict[str, Any] = {"machine": machine, "environment": facts, "device": args.device, "parts": {}}
    if path.exists() and not args.fresh:
        before = json.loads(path.read_text())
        report = before if before["machine"] == machine and before["device"] == args.device else report
    for name in args.parts:
        if name in report["parts"] and not args.fresh:
            continue
        report["parts"][name] = PARTS[name](args, torch.device(args.device))
        path.write_text(json.dumps(report, indent=1) + "\n")
        args.markdown.write_text(page(report))
        print(f"measured {name}", flush=True)
    print(args.markdown.read_text())


if __name__ == "__main__":
    main()
