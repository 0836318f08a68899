"""When the gradient matters: borders, comparisons, that the page follows from the results, and a training."""

from __future__ import annotations

import json

import pytest

from benchmarks.border import HERE
from benchmarks.border_gradients import KINDS, SWEEPS, error
from benchmarks.border_page import apart, cells, first_apart, page
from benchmarks.border_training import CONDITIONS, train
from benchmarks.lines import read

GRADIENTS = json.loads((HERE / "results/border.json").read_text())
RUNS = read(HERE / "results/border.jsonl")


def test_the_page_is_that_of_the_results():
    assert page(GRADIENTS, cells(RUNS)) == (HERE / "border.md").read_text()


def test_borders_are_found_from_the_harmless_end():
    assert first_apart((1e-1, 1e-2, 1e-3), (0.0, 0.2, 0.0), "clusters") == 1e-2
    assert first_apart((10, 100, 1000), (0.0, 0.0, float("nan")), "condition") == 1000
    assert first_apart((4, 9, 16), (0.5, 0.2, 0.0), "rank") == 9
    assert first_apart((4, 9, 16), (0.1, 0.1, 0.0), "rank") is None


def test_cells_are_compared_with_the_exact_derivative_seed_by_seed():
    found = {cell[:3]: cell for cell in cells(RUNS)}
    for condition in CONDITIONS:
        base = found["library", "lyapunov", condition]
        assert base.p is None
        assert found["library", "pade", condition].accuracies[0] == pytest.approx(base.accuracies[0], abs=0.05)
    collapsed = found["historical", "topn", "standard"]
    assert collapsed in apart(found.values())
    assert collapsed.difference < -0.5


@pytest.mark.parametrize("kind", KINDS)
def test_kept_errors_are_those_of_today(kind):
    """One of each kind, at equal eigenvalues: of a size, rounding being the machine's."""
    method = "lyapunov" if kind.startswith("library") else "taylor"
    (row,) = (
        row for row in GRADIENTS["sweeps"] if (row["sweep"], row["kind"], row["method"]) == ("clusters", kind, method)
    )
    _, values, features = SWEEPS["clusters"]
    place = values.index(0.0)
    assert row["errors"][place] / 10 < error(kind, method, features(0.0)) < row["errors"][place] * 10
    assert tuple(row["values"]) == values


@pytest.mark.slow
@pytest.mark.parametrize(("kind", "method"), [("library", "taylor"), ("historical", "original")])
def test_a_training_is_repeatable(kind, method):
    for condition in ("gaps of 1e-2", "the same, float32"):
        first, second = (train(kind, method, CONDITIONS[condition], 0) for _ in range(2))
        assert first == second
        assert first["error"] is None
