"""Methods on digits: ``python -m benchmarks.digits`` writes benchmarks/digits.md.

The seven SVD methods over several seeds, and one short run of every method there is. ``--only halley mpa`` makes the
short runs of these alone, and puts their rows into the page that is there.
"""

from __future__ import annotations

import argparse
import csv
import json
import platform
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from datetime import date
from pathlib import Path
from typing import Any

import torch
from scipy.stats import friedmanchisquare

from benchmarks.report import table
from gcp.methods import list_methods
from lightning_modules.metric_names import TEST_ACCURACY, TRAIN_LOSS, VAL_ACCURACY

ROOT = Path(__file__).resolve().parent.parent
Row = tuple[str, ...]
SHORT_RUNS = "## Every method, one short run"
METHODS = ("pade", "taylor", "pi", "newton", "trunc", "topn", "original")


def main() -> None:
    """Run the sweep and write the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", type=int, default=3, help="number of seeds of each method")
    parser.add_argument("--only", nargs="+", choices=list_methods(), help="short runs of these alone")
    parser.add_argument("--out", type=Path, default=ROOT / "benchmarks" / "digits.md", help="the table")
    parser.add_argument("overrides", nargs="*", help="more arguments for run.py, such as trainer.max_epochs=2")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        if arguments.only:
            first, rows = parts(arguments.out.read_text())
        else:
            seeds = f"seed={','.join(map(str, range(arguments.seeds)))}"
            runs = sweep(Path(folder, "seven"), METHODS, [seeds, *arguments.overrides])
            first, rows = report(runs, arguments.seeds, arguments.overrides), {}
        methods = arguments.only or list_methods()
        short = sweep(Path(folder, "all"), methods, ["trainer.max_epochs=3", *arguments.overrides])
    rows |= {run["method"]: row(run) for run in short}
    arguments.out.write_text(first + short_runs(rows, short[0]["epochs"], short[0]["seed"]))
    print(arguments.out.read_text())


def sweep(folder: Path, methods: Sequence[str], overrides: list[str]) -> list[dict[str, Any]]:
    """Summaries of all runs, one after the other in one process, each with the ``losses`` of its epochs."""
    command = [sys.executable, str(ROOT / "run.py"), "-m", f"method={','.join(methods)}"]
    subprocess.run([*command, f"hydra.sweep.dir={folder}", "callbacks.progress_bar=false", *overrides], check=True)
    runs = []
    for path in sorted(folder.glob("*/summary.json")):
        with (path.parent / "metrics.csv").open(newline="") as file:
            losses = [float(row[TRAIN_LOSS]) for row in csv.DictReader(file) if row[TRAIN_LOSS]]
        runs.append({**json.loads(path.read_text()), "losses": losses})
    return runs


def report(runs: list[dict[str, Any]], seeds: int, overrides: list[str]) -> str:
    """The page: table, and what can and cannot be concluded from it."""
    accuracy = {name: [run[TEST_ACCURACY] for run in runs if run["method"] == name] for name in METHODS}
    head = ("method", "test accuracy %", "validation accuracy %", "training time s")
    rows = [
        (
            name,
            spread(accuracy[name], 100, 2),
            spread(column(runs, name, VAL_ACCURACY), 100, 2),
            spread(column(runs, name, "train_seconds"), 1, 1),
        )
        for name in METHODS
    ]
    p_value = friedmanchisquare(*accuracy.values()).pvalue
    means = {name: statistics.mean(values) for name, values in accuracy.items()}
    best, worst = max(means, key=means.__getitem__), min(means, key=means.__getitem__)
    within = statistics.mean(statistics.stdev(values) for values in accuracy.values())
    verdict = "do not differ" if p_value > 0.05 else "differ"
    command = " ".join(["python -m benchmarks.digits", f"--seeds {seeds}", *overrides])
    return "\n".join(
        [
            "# The seven methods on digits",
            "",
            f"`{command}`, {date.today()}, torch {torch.__version__}, {torch.get_num_threads()} CPU threads, "
            f"{platform.machine()}. Defaults of `run.py` otherwise: backbone `tiny`, 64 px, "
            f"{runs[0]['epochs']} epochs, {seeds} seeds; mean ± standard deviation over the seeds.",
            "",
            *table(head, rows),
            f"**Do they differ?** By this evidence the methods {verdict} in accuracy: Friedman's test over the seeds "
            f"gives p = {p_value:.2f}. The best and the worst mean ({best}, {worst}) are "
            f"{100 * (means[best] - means[worst]):.2f} points apart; seeds of one method vary by {100 * within:.2f} "
            f"points (standard deviation), and one test image is {100 / 359:.2f} points. Digits are too easy, and "
            f"{seeds} seeds too few, to rank the methods. Times are of one machine in one order, and say little.",
            "",
        ]
    )


def short_runs(rows: dict[str, Row], epochs: int, seed: int) -> str:
    """Every method in one short run: does its loss fall?"""
    head = ("method", "training loss, first epoch", "last epoch", "test accuracy %", "training time s")
    return "\n".join(
        [
            "",
            SHORT_RUNS,
            "",
            f"{epochs} epochs, seed {seed}, defaults otherwise: enough to see that each learns, not to compare them, "
            "least of all their times, for rows are renewed singly (`--only`).",
            "",
            *table(head, [(name, *rows[name]) for name in list_methods() if name in rows]),
        ]
    )


def row(run: dict[str, Any]) -> Row:
    """What the page says of a short run."""
    first, last = (f"{run['losses'][epoch]:.3f}" for epoch in (0, -1))
    return first, last, f"{100 * run[TEST_ACCURACY]:.2f}", f"{run['train_seconds']:.1f}"


def parts(page: str) -> tuple[str, dict[str, Row]]:
    """What stands before the short runs, and their rows."""
    first, _, short = page.partition(f"\n{SHORT_RUNS}\n")
    cells = [[cell.strip() for cell in line.split("|")[1:-1]] for line in short.splitlines() if line.startswith("| ")]
    return first, {name: tuple(values) for name, *values in cells if name in list_methods()}


def column(runs: list[dict[str, Any]], method: str, field: str) -> list[float]:
    """A field of the summaries of one method."""
    return [run[field] for run in runs if run["method"] == method]


def spread(values: list[float], scale: float, digits: int) -> str:
    """Mean ± standard deviation."""
    return f"{scale * statistics.mean(values):.{digits}f} ± {scale * statistics.stdev(values):.{digits}f}"


if __name__ == "__main__":
    main()
