"""Growth: what is counted is what is kept, and a power law is found where there is one."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch

from benchmarks import operations
from benchmarks.layers import Pass, feature_map
from benchmarks.resnet import TrainingStep
from benchmarks.scaling import SMALL, Size, affordable, cost, main, points
from benchmarks.scaling_page import page, picture, slopes
from gcp.pooling.factory import create_pooling

CENTRE = Size(2, 16, 3)


@pytest.mark.parametrize("path", ["gram", "dense"])
@pytest.mark.parametrize(("channels", "side"), [(8, 2), (5, 4)])
def test_the_bytes_kept_are_those_counted(path, channels, side):
    features = feature_map(2, channels, side, side, torch.device("cpu"))
    grad = torch.zeros(2, channels * (channels + 1) // 2)
    layer = create_pooling("pade", channels, path=path)
    assert Pass(layer, features, grad).saved() == 2 * operations.kept(path, channels, side**2)


def report_of(seconds):
    """A report with ``seconds(size, path)`` of decomposition and products, and a tenth of the latter of other work."""
    rows = []
    for size in points(SMALL, CENTRE):
        layers = {}
        for path in ("gram", "dense"):
            decomposition, products = seconds(size, path)
            total = decomposition + 1.1 * products
            found = {"decomposition": decomposition, "products": products, "elementwise": 0.1 * products,
                     "moved_bytes": size.batch * operations.products(path, size.channels, size.positions)}  # fmt: skip
            layers[path] = {"forward_s": total / 2, "backward_s": total / 2, "total_s": total, "runs": 1,
                            "parts": found, "kept_bytes": 1, "peak_bytes": None}  # fmt: skip
        rows.append({"size": vars(size), "layers": layers})
    settings = {"axes": {axis: list(values) for axis, values in SMALL.items()}, "centre": vars(CENTRE),
                "device": "cpu", "limit": 1.0, "images": 1, "pixels": 64}  # fmt: skip
    return {"settings": settings, "environment": {}, "points": rows, "steps": {}}


def test_times_that_grow_as_their_operations_do_have_the_slopes_of_theory():
    def seconds(size, path):
        counts = [
            count(path, size.channels, size.positions) for count in (operations.decomposition, operations.products)
        ]
        return tuple(size.batch * count for count in counts)

    report = report_of(seconds)
    rows = slopes(report)
    assert {row[1] for row in rows} == {"gram", "dense"}
    assert {row[-1] for row in rows} == {"yes"}
    assert all(row[4] == row[5] for row in rows)
    assert "| channels C | gram | all | 8 to 32 |" in page(report)
    picture(report)


def test_where_arithmetic_does_not_dominate_nothing_is_judged():
    report = report_of(lambda size, path: (1.0, 1.0))
    for point in report["points"]:
        for row in point["layers"].values():
            row["total_s"] *= 2
    assert {row[-1] for row in slopes(report)} == {""}


def test_times_that_grow_faster_are_outside():
    rows = slopes(report_of(lambda size, path: (cost(size, path) ** 1.5, cost(size, path) ** 1.5)))
    assert "no" in {row[-1] for row in rows}


def test_a_size_that_would_take_too_long_is_left_out():
    measured = [{"size": vars(Size(1, 10, 2)), "layers": {"dense": {"total_s": 0.1}}}]
    assert affordable(Size(1, 20, 2), "dense", measured, limit=0.9)
    assert not affordable(Size(1, 20, 2), "dense", measured, limit=0.7)
    assert affordable(Size(1, 20, 2), "gram", measured, limit=0.7)


@pytest.mark.slow
def test_an_interrupted_run_goes_on(tmp_path: Path) -> None:
    command = ["--quick", "--out", str(tmp_path)]
    main(command)
    results = tmp_path / "scaling.json"
    report = json.loads(results.read_text())
    assert set(report["steps"]) == {"average", "isqrt", "pade"}
    assert all(row["peak_bytes"] > 0 for row in report["steps"].values())
    report["finished"] = False
    del report["points"][-1]
    report["points"][0]["mark"] = "measured before"
    results.write_text(json.dumps(report))
    main(command)
    again = json.loads(results.read_text())
    assert again["points"][0]["mark"] == "measured before"
    assert len(again["points"]) == len(report["points"]) + 1
    assert (tmp_path / "scaling.png").stat().st_size > 0


@pytest.mark.slow
def test_a_training_step_learns_in_amp_too() -> None:
    step = TrainingStep("pade", 2, 64, torch.device("cpu"), amp=True)
    before = [each.detach().clone() for each in step.network.parameters()]
    step.both()
    assert any(not torch.equal(old, new) for old, new in zip(before, step.network.parameters(), strict=True))
