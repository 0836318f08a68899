"""The page on gcp.linalg: its command runs, its oracle is right, and nothing of ours is NaN or wrong."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest
import torch

from benchmarks.degenerate import measure
from benchmarks.linalg import main
from benchmarks.linalg_tasks import APPROXIMATE, TASKS
from tests.conftest import ROOT
from tests.slow import slow_unless


def rows(page: str) -> list[list[str]]:
    lines = page.partition("## Time")[0].splitlines()
    cells = ([cell.strip() for cell in line.strip("|").split("|")] for line in lines if line[:1] == "|")
    return [row for row in cells if len(row) == 7 and row[2].isdigit()]


def test_the_page():
    found = rows((ROOT / "benchmarks/linalg.md").read_text())
    assert {row[0] for row in found} == {task.name for task in TASKS}
    for _, name, _, nan, wrong, *_ in found:
        if name.startswith("**"):
            assert nan == "0"
            assert wrong == "0" or any(method in name for method in APPROXIMATE)


@pytest.mark.parametrize("task", slow_unless(["nearest rotation"], [task.name for task in TASKS]))
def test_nothing_of_ours_is_nan_or_wrong(task):
    """And torch.linalg is right where values are apart: so is the oracle, then."""
    (task,) = (each for each in TASKS if each.name == task)
    for name, count in measure(task).items():
        if name in task.ours:
            assert count.nan == 0
            assert count.wrong == 0 or name.endswith(APPROXIMATE)
    apart = dataclasses.replace(task, spectra=task.spectra[:1], dtypes=(torch.float64,))
    for count in measure(apart).values():
        assert count.nan == count.wrong == count.imprecise == 0


@pytest.mark.slow
def test_the_command(tmp_path: Path):
    main(["--pairs", "2", "--sizes", "8", "--tasks", "1", "--out", str(tmp_path / "page.md")])
    page = (tmp_path / "page.md").read_text()
    assert "torch.linalg.matrix_sqrth" in page or not hasattr(torch.linalg, "matrix_sqrth")
    assert len(rows(page)) == len(TASKS[0].ours) + len(TASKS[0].theirs)
