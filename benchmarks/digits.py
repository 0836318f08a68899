"""The seven methods on digits: ``python -m benchmarks.digits`` trains them all and writes benchmarks/digits.md."""

from __future__ import annotations

import argparse
import json
import platform
import statistics
import subprocess
import sys
import tempfile
from datetime import date
from pathlib import Path
from typing import Any

import torch
from scipy.stats import friedmanchisquare

ROOT = Path(__file__).resolve().parent.parent
METHODS = ("pade", "taylor", "pi", "newton", "trunc", "topn", "original")


def main() -> None:
    """Run the sweep and write the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", type=int, default=3, help="number of seeds of each method")
    parser.add_argument("--out", type=Path, default=ROOT / "benchmarks" / "digits.md", help="the table")
    parser.add_argument("overrides", nargs="*", help="more arguments for run.py, such as trainer.max_epochs=2")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        runs = sweep(Path(folder), list(range(arguments.seeds)), arguments.overrides)
    arguments.out.write_text(report(runs, arguments.seeds, arguments.overrides))
    print(arguments.out.read_text())


def sweep(folder: Path, seeds: list[int], overrides: list[str]) -> list[dict[str, Any]]:
    """Summaries of all runs, one after the other in one process."""
    command = [sys.executable, str(ROOT / "run.py"), "-m", f"method={','.join(METHODS)}"]
    command += [f"seed={','.join(map(str, seeds))}", f"hydra.sweep.dir={folder}", *overrides]
    subprocess.run(command, check=True)
    return [json.loads(path.read_text()) for path in sorted(folder.glob("*/summary.json"))]


def report(runs: list[dict[str, Any]], seeds: int, overrides: list[str]) -> str:
    """The page: table, and what can and cannot be concluded from it."""
    accuracy = {name: [run["test/acc1"] for run in runs if run["method"] == name] for name in METHODS}
    rows = [
        f"| {name} | {spread(accuracy[name], 100, 2)} | {spread(column(runs, name, 'val/acc1'), 100, 2)} "
        f"| {spread(column(runs, name, 'train_seconds'), 1, 1)} |"
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
            "| method | test accuracy % | validation accuracy % | training time s |",
            "|---|---|---|---|",
            *rows,
            "",
            f"**Do they differ?** By this evidence the methods {verdict} in accuracy: Friedman's test over the seeds "
            f"gives p = {p_value:.2f}. The best and the worst mean ({best}, {worst}) are "
            f"{100 * (means[best] - means[worst]):.2f} points apart; seeds of one method vary by {100 * within:.2f} "
            f"points (standard deviation), and one test image is {100 / 359:.2f} points. Digits are too easy, and "
            f"{seeds} seeds too few, to rank the methods. Times are of one machine in one order, and say little.",
            "",
        ]
    )


def column(runs: list[dict[str, Any]], method: str, field: str) -> list[float]:
    """A field of the summaries of one method."""
    return [run[field] for run in runs if run["method"] == method]


def spread(values: list[float], scale: float, digits: int) -> str:
    """Mean ± standard deviation."""
    return f"{scale * statistics.mean(values):.{digits}f} ± {scale * statistics.stdev(values):.{digits}f}"


if __name__ == "__main__":
    main()
