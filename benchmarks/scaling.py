"""How time and memory of a spectral layer grow with channels, positions and batch, one at a time.

python -m benchmarks.scaling            # benchmarks/scaling.md and results/scaling.png; minutes on two cores
python -m benchmarks.scaling --quick    # small sizes, to see that it works

What is measured is kept point by point; a run that was interrupted goes on where it was.
"""

from __future__ import annotations

import argparse
import json
import os
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import torch

from benchmarks.environment import environment
from benchmarks.layers import Pass, feature_map
from benchmarks.measure import interleaved, peak_bytes
from benchmarks.parts import parts
from benchmarks.resnet import POOLINGS, training_step
from benchmarks.scaling_page import page, picture
from gcp.pooling.factory import create_pooling

HERE = Path(__file__).resolve().parent
PATHS = ("gram", "dense")


@dataclass(frozen=True)
class Size:
    """Of the features: (batch, channels, side, side)."""

    batch: int
    channels: int
    side: int

    @property
    def positions(self) -> int:
        """N."""
        return self.side**2


CENTRE = Size(8, 256, 14)
AXES = {
    "channels": (64, 128, 256, 512, 1024, 2048),
    "positions": (4, 7, 10, 14, 20, 28, 40, 56),  # sides of the map: 16 to 3136 positions
    "batch": (1, 2, 4, 8, 16, 32, 64, 128, 256, 512),
}
SMALL = {"channels": (8, 16, 32), "positions": (2, 3, 4), "batch": (1, 2, 4)}


def sizes(axis: str, values: tuple[int, ...], centre: Size) -> list[Size]:
    """The centre, with each of the values on that axis."""
    field = {"positions": "side"}.get(axis, axis)
    return [replace(centre, **{field: value}) for value in values]


def points(axes: dict[str, tuple[int, ...]], centre: Size) -> list[Size]:
    """Every size once, in the order in which it is measured: small ones first."""
    found = {size for axis, values in axes.items() for size in sizes(axis, values, centre)}
    return sorted(found, key=lambda size: (cost(size, "dense") + cost(size, "gram"), size.batch, size.channels))


def cost(size: Size, path: str) -> float:
    """What a decomposition costs, but for a constant."""
    return float(size.batch) * (size.positions if path == "gram" else size.channels) ** 3


def measure(size: Size, paths: list[str], repeats: int, budget: float, device: torch.device) -> dict[str, Any]:
    """Seconds of the layer and of its parts, bytes kept and at the peak, on each of ``paths``."""
    features = feature_map(size.batch, size.channels, size.side, size.side, device)
    width = size.channels * (size.channels + 1) // 2
    grad = torch.randn(size.batch, width, generator=torch.Generator().manual_seed(1)).to(device)
    passes = {path: Pass(create_pooling("pade", size.channels, path=path), features, grad) for path in paths}
    steps: dict[str, Any] = {path: (one.forward, one.backward) for path, one in passes.items()}
    times = interleaved(steps, repeats, budget, device, lambda: None)
    return {
        path: {
            **times[path],
            "parts": parts(one.both, device, int(times[path]["runs"])),
            "kept_bytes": one.saved(),
            "peak_bytes": peak_bytes(one.both, device),
        }
        for path, one in passes.items()
    }


def affordable(size: Size, path: str, measured: list[dict[str, Any]], limit: float) -> bool:
    """Whether a run takes no more than ``limit`` seconds, from those of smaller sizes, whose decompositions grow."""
    rate = [
        row["layers"][path]["total_s"] / cost(Size(**row["size"]), path) for row in measured if path in row["layers"]
    ]
    return not rate or min(rate) * cost(size, path) <= limit


def parse(arguments: list[str] | None) -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser("benchmarks.scaling", description=__doc__.splitlines()[0])
    parser.add_argument("--repeats", type=int, default=9, help="runs of each, in turns")
    parser.add_argument("--budget", type=float, default=5.0, help="seconds for each; slower ones run 3 times")
    parser.add_argument("--limit", type=float, default=4.0, help="seconds of a run above which a path is left out")
    parser.add_argument("--device", default="cpu", help="cpu or cuda")
    parser.add_argument("--images", type=int, default=8, help="batch of the training step of ResNet-50")
    parser.add_argument("--pixels", type=int, default=224, help="side of its images")
    parser.add_argument("--fresh", action="store_true", help="measure again what an interrupted run has measured")
    parser.add_argument("--quick", action="store_true", help="small sizes, two runs")
    parser.add_argument("--out", type=Path, help="folder for JSON, Markdown and picture (default: benchmarks)")
    args = parser.parse_args(arguments)
    args.axes, args.centre, args.poolings = AXES, CENTRE, POOLINGS
    if args.quick:
        args.axes, args.centre = SMALL, Size(2, 16, 3)
        args.repeats, args.images, args.pixels = 2, 1, 64
    args.markdown = (args.out or HERE) / "scaling.md"
    args.results = args.out or HERE / "results"
    return args


def grow(args: argparse.Namespace, path: Path) -> dict[str, Any]:
    """Measure what ``path`` does not have yet, of the same settings and machine, and keep it there."""
    facts = environment()
    settings = {
        "repeats": args.repeats, "budget": args.budget, "limit": args.limit, "device": args.device,
        "axes": {axis: list(values) for axis, values in args.axes.items()}, "centre": asdict(args.centre),
        "images": args.images, "pixels": args.pixels,
        "machine": {name: value for name, value in facts.items() if name != "date"},
    }  # fmt: skip
    load = {"load": f"{os.getloadavg()[0]:.1f}"}  # of the machine before, as uptime says it
    report: dict[str, Any] = {"settings": settings, "environment": facts | load, "points": [], "steps": {}}
    if path.exists() and not args.fresh:
        before = json.loads(path.read_text())
        if before["settings"] == settings and not before.get("finished"):
            report = before
    device = torch.device(args.device)
    for size in points(args.axes, args.centre):
        if any(row["size"] == asdict(size) for row in report["points"]):
            continue
        paths = [each for each in PATHS if affordable(size, each, report["points"], args.limit)]
        layers = measure(size, paths, args.repeats, args.budget, device)
        report["points"].append({"size": asdict(size), "layers": layers})
        path.write_text(json.dumps(report, indent=1) + "\n")
        print(size, {name: f"{row['total_s']:.4g} s" for name, row in layers.items()}, flush=True)
    for pooling in args.poolings:
        if pooling not in report["steps"]:
            report["steps"][pooling] = training_step(pooling, args.images, args.pixels, device, repeats=3)
            path.write_text(json.dumps(report, indent=1) + "\n")
            print(pooling, report["steps"][pooling], flush=True)
    return {**report, "finished": True}


def main(arguments: list[str] | None = None) -> None:
    """Measure; write the results, the page and the picture."""
    args = parse(arguments)
    args.results.mkdir(parents=True, exist_ok=True)
    path = args.results / "scaling.json"
    report = grow(args, path)
    path.write_text(json.dumps(report, indent=1) + "\n")
    args.markdown.write_text(page(report))
    picture(report).savefig(args.results / "scaling.png", dpi=130)
    print(args.markdown.read_text())


if __name__ == "__main__":
    main()
