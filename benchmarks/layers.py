"""Every spectral layer beside what it replaces: time, memory and error, measured in turns in one run.

python -m benchmarks.layers                        # the whole table; hours on two cores
python -m benchmarks.layers --shapes 256x7x7 --batches 8 --methods pade newton
python -m benchmarks.layers --quick                # tiny shapes, to see that it works
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from rich.progress import Progress
from torch import Tensor, nn

from benchmarks.baselines.classical import CLASSICAL_ROOTS, ClassicalPooling
from benchmarks.baselines.isqrt import ISqrtPooling
from benchmarks.baselines.plain import AutogradPooling, by_eigh, by_svd
from benchmarks.environment import environment
from benchmarks.floor import Floor
from benchmarks.measure import Step, interleaved, peak_bytes, saved_bytes
from benchmarks.oracle import exact, relative_error
from benchmarks.parts import parts
from benchmarks.report import markdown, plot
from gcp.methods import SPECTRAL
from gcp.pooling.factory import create_pooling

SHAPES = ("256x7x7", "256x13x13", "256x14x14", "256x28x28", "2048x14x14")
BATCHES = (1, 4, 8, 32)
ROOTS = ("isqrt", "mpa", "mtp")  # this library's square roots by matrix products
HERE = Path(__file__).resolve().parent


def feature_map(batch: int, channels: int, height: int, width: int, device: torch.device) -> Tensor:
    """ReLU of noise with channel scales that decay over two decades, as after a trained network's last stage."""
    generator = torch.Generator().manual_seed(0)
    scale = torch.logspace(0, -2, channels)[torch.randperm(channels, generator=generator)]
    noise = torch.randn(batch, channels, height, width, generator=generator)
    return (noise * scale[:, None, None]).relu().to(device)


def layers(methods: list[str], precision: str, channels: int) -> dict[str, nn.Module]:
    """All candidates by name: "gcp pade", "classical pade" (where there is one), and the baselines of no method."""
    candidates: dict[str, nn.Module] = {}
    for method in methods:
        candidates[f"gcp {method}"] = create_pooling(method, channels, precision=precision)
        if method in CLASSICAL_ROOTS:
            candidates[f"classical {method}"] = ClassicalPooling(method)
    for root in ROOTS:
        candidates[f"root {root}"] = create_pooling(root, channels)
    candidates["iSQRT-COV float64"] = ISqrtPooling(torch.float64)
    candidates["iSQRT-COV float32"] = ISqrtPooling(torch.float32)
    candidates["autograd eigh"] = AutogradPooling(by_eigh)
    candidates["autograd svd"] = AutogradPooling(by_svd)
    return candidates


class Pass:
    """Forward and backward of a layer on given features, as steps to measure."""

    def __init__(self, layer: nn.Module, features: Tensor, grad: Tensor) -> None:
        self.layer, self.grad = layer.to(features.device), grad
        self.features = features.detach().clone().requires_grad_()

    def forward(self) -> None:
        """Output, with its graph."""
        self.output = self.layer(self.features)

    def backward(self) -> None:
        """Gradient with respect to the features; the graph is freed."""
        (self.gradient,) = torch.autograd.grad(self.output, self.features, self.grad)

    def both(self) -> None:
        """Forward and backward, nothing kept."""
        self.forward()
        self.backward()
        del self.output, self.gradient

    def errors(self) -> dict[str, float]:
        """Relative error of value and gradient of the first two samples against the exact ones."""
        first = Pass(self.layer, self.features[:2], self.grad[:2])
        first.forward()
        first.backward()
        value, gradient = exact(first.features, first.grad)
        return {
            "value_error": relative_error(first.output.detach(), value),
            "gradient_error": relative_error(first.gradient, gradient),
        }

    def saved(self) -> int:
        """Bytes kept for the backward."""

        def forward() -> Tensor:
            output: Tensor = self.layer(self.features)
            return output

        return saved_bytes(forward, [self.features, *self.layer.parameters(), *self.layer.buffers()])


def measure_case(shape: str, batch: int, device: torch.device, args: argparse.Namespace, tick: Step) -> dict[str, Any]:
    """All candidates at one shape and batch."""
    channels, height, width = map(int, shape.split("x"))
    features = feature_map(batch, channels, height, width, device)
    grad = torch.randn(batch, channels * (channels + 1) // 2, generator=torch.Generator().manual_seed(1)).to(device)
    passes = {
        name: Pass(layer, features, grad) for name, layer in layers(args.methods, args.precision, channels).items()
    }
    rows: dict[str, dict[str, Any]] = {}
    for name, one in passes.items():
        rows[name] = {**one.errors(), "saved_bytes": one.saved(), "peak_bytes": peak_bytes(one.both, device)}
    floor = Floor(features, grad)
    steps: dict[str, tuple[Callable[[], object], Callable[[], object]]] = {
        name: (one.forward, one.backward) for name, one in passes.items()
    }
    steps["floor"] = (floor.forward, floor.backward)
    times = interleaved(steps, args.repeats, args.budget, device, tick)
    for name, time in times.items():
        rows.setdefault(name, {}).update(time)

    def floor_once() -> None:
        floor.forward()
        floor.backward()

    for name, step in {"floor": floor_once, **{name: one.both for name, one in passes.items()}}.items():
        if name == "floor" or name.startswith("gcp "):
            rows[name]["parts"] = parts(step, device, args.repeats)
    return {"shape": shape, "batch": batch, "device": device.type, "layers": rows}


def parse(arguments: list[str] | None) -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser("benchmarks.layers", description=__doc__.splitlines()[0])
    parser.add_argument("--shapes", nargs="+", default=SHAPES, metavar="CxHxW[@B]", help="with a batch of its own")
    parser.add_argument("--batches", nargs="+", type=int, default=BATCHES, help="2048 channels: 1 only")
    parser.add_argument("--methods", nargs="+", default=list(SPECTRAL), choices=list(SPECTRAL))
    parser.add_argument("--precision", default="mixed", choices=("mixed", "float64", "float32"))
    parser.add_argument("--repeats", type=int, default=10)
    parser.add_argument("--budget", type=float, default=60.0, help="seconds per layer and case; slower ones run fewer")
    parser.add_argument("--device", nargs="+", default=["cpu"] + ["cuda"] * torch.cuda.is_available())
    parser.add_argument("--quick", action="store_true", help="tiny shapes, two runs")
    parser.add_argument("--out", type=Path, help="folder for JSON, Markdown and plot (default: benchmarks/results)")
    args = parser.parse_args(arguments)
    if args.quick:
        args.shapes, args.batches, args.repeats = ("16x3x3", "16x5x5"), (2,), 2
    args.markdown = (args.out or HERE) / "layers.md"
    args.out = args.out or HERE / "results"
    return args


def main(arguments: list[str] | None = None) -> None:
    """Measure, and write what is there after each case."""
    args = parse(arguments)
    args.out.mkdir(parents=True, exist_ok=True)
    cases = [
        (shape, batch, torch.device(device))
        for device in args.device
        for shape, _, own in (text.partition("@") for text in args.shapes)
        for batch in ([int(own)] if own else args.batches)
        if batch == 1 or not shape.startswith("2048")
    ]
    report: dict[str, Any] = {"environment": environment(), "precision": args.precision, "cases": []}
    turns = args.repeats * (2 * len(args.methods) + len(ROOTS) + 5)
    with Progress() as progress:
        task = progress.add_task("", total=turns * len(cases))
        for shape, batch, device in cases:
            progress.update(task, description=f"{shape}, batch {batch}, {device.type}")
            report["cases"].append(measure_case(shape, batch, device, args, lambda: progress.advance(task)))
            (args.out / "layers.json").write_text(json.dumps(report, indent=1) + "\n")
            args.markdown.write_text(markdown(report))
    plot(report, args.out / "layers.png")


if __name__ == "__main__":
    main()
