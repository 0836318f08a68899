"""Conditioning of the layer before the covariance: ``python -m benchmarks.conditioning`` writes conditioning.md.

Runs of ``run.py`` with none, each and all of the remedies, over several seeds; what the spectrum monitor measured.
"""

from __future__ import annotations

import argparse
import csv
import json
import math
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import yaml
from scipy.stats import ttest_rel

from benchmarks.environment import environment
from benchmarks.report import table
from lightning_modules.metric_names import CONDITION, TEST_ACCURACY
from lightning_modules.settings.training import CONDITIONING

ROOT = Path(__file__).resolve().parent.parent
DATASETS = ("digits", "textures")
SHORT = {"orthogonal_gradient": "gradient", "optimal_lr": "rate", "orthogonal_weights": "weights"}
LEVEL = 0.05
FIXED = (
    "method=lyapunov",
    "method.reduced_channels=32",
    "trainer.max_epochs=6",
    "schedule.milestones=[4,5]",
    "callbacks.spectrum_every_n_steps=5",
    "callbacks.progress_bar=false",
    "trainer.accelerator=cpu",
    "threads=1",
)


@dataclass(frozen=True)
class Result:
    """One run.

    Attributes:
        dataset: its name.
        remedies: those that were on, in short.
        seed: its seed.
        condition: log10 of the covariances' condition number, median over the measurements of the last third.
        accuracy: of the test, of the best epoch.
    """

    dataset: str
    remedies: str
    seed: int
    condition: float
    accuracy: float


def main() -> None:
    """Run the sweeps, a dataset beside the other, and write the page."""
    parser = argparse.ArgumentParser("benchmarks.conditioning", description=__doc__.splitlines()[0])
    parser.add_argument("--seeds", type=int, default=5, help="seeds of each variant")
    parser.add_argument("--out", type=Path, default=ROOT / "benchmarks" / "conditioning.md", help="the page")
    parser.add_argument("overrides", nargs="*", help="more arguments for run.py, such as trainer.max_epochs=2")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder, ThreadPoolExecutor(len(DATASETS)) as pool:
        jobs = [
            pool.submit(sweep, Path(folder, dataset), dataset, arguments.seeds, arguments.overrides)
            for dataset in DATASETS
        ]
        results = [result for job in jobs for result in job.result()]
    command = " ".join(["python -m benchmarks.conditioning", *sys.argv[1:]])
    arguments.out.write_text(page(results, command))
    print(arguments.out.read_text())


def sweep(folder: Path, dataset: str, seeds: int, overrides: Sequence[str]) -> list[Result]:
    """Every combination of the remedies over the seeds, one run after the other in one process."""
    varied = [f"training.{name}=false,true" for name in CONDITIONING]
    varied += [f"seed={','.join(map(str, range(seeds)))}", f"dataset={dataset}", f"hydra.sweep.dir={folder}"]
    subprocess.run([sys.executable, str(ROOT / "run.py"), "-m", *FIXED, *varied, *overrides], check=True)
    return [read(path.parent) for path in sorted(folder.glob("*/summary.json"))]


def read(directory: Path) -> Result:
    """What a run directory says."""
    summary = json.loads((directory / "summary.json").read_text())
    training = yaml.safe_load((directory / "config.yaml").read_text())["training"]
    with (directory / "metrics.csv").open(newline="") as file:
        measured = [math.log10(float(row[CONDITION])) for row in csv.DictReader(file) if row.get(CONDITION)]
    condition = statistics.median(measured[-max(1, len(measured) // 3) :])
    remedies = " + ".join(SHORT[name] for name in CONDITIONING if training[name]) or "none"
    return Result(summary["dataset"], remedies, int(summary["seed"]), condition, float(summary[TEST_ACCURACY]))


def page(results: Sequence[Result], command: str) -> str:
    """Tables, and what follows from them in computed sentences."""
    facts = environment()
    parts = [
        "# Conditioning of the layer before the covariance",
        f"`{command}`; {', '.join(f'{key} {value}' for key, value in facts.items() if value is not None)}. Backbone "
        f"`tiny` at 64 px, `{' '.join(FIXED[:4])}`, otherwise the defaults of `run.py`. Gradient, rate and weights are "
        "`training.orthogonal_gradient`, `training.optimal_lr` and `training.orthogonal_weights`. The condition number "
        "is the spectrum monitor's (largest over smallest eigenvalue that is not null, median over 8 images), as "
        "log10, the median of the last third of the training; beside it test accuracy in %. Mean ± standard deviation "
        "over the seeds; p: paired t-test against none over the seeds, Holm's adjustment over the seven.",
    ]
    for dataset in dict.fromkeys(result.dataset for result in results):
        parts += [f"## {dataset}", *section([result for result in results if result.dataset == dataset])]
    parts += [
        "## What the evidence does not show",
        f"All {len(results)} runs finished. Two small datasets, one small network, one learning rate and few seeds; "
        "the authors train deeper networks for hundreds of epochs. Between the layer and the covariance stand a batch "
        "norm and a ReLU, as published: orthogonal weights do not make the covariance of what comes behind them well "
        "conditioned.",
    ]
    return "\n\n".join(parts) + "\n"


def section(results: Sequence[Result]) -> list[str]:
    """The table of a dataset, and its sentences."""
    variants = sorted({result.remedies for result in results}, key=lambda name: (name != "none", name.count("+"), name))
    by_variant = {name: sorted((r for r in results if r.remedies == name), key=lambda r: r.seed) for name in variants}
    others = [name for name in variants if name != "none"]
    conditions = {name: [result.condition for result in runs] for name, runs in by_variant.items()}
    accuracies = {name: [100 * result.accuracy for result in runs] for name, runs in by_variant.items()}
    p_condition = against(conditions["none"], [conditions[name] for name in others])
    p_accuracy = against(accuracies["none"], [accuracies[name] for name in others])
    rows = [("none", spread(conditions["none"]), "", spread(accuracies["none"]), "")]
    for name, first, second in zip(others, p_condition, p_accuracy, strict=True):
        rows.append((name, spread(conditions[name]), f"{first:.2g}", spread(accuracies[name]), f"{second:.2g}"))
    head = ("remedies", "log10 condition", "p", "test accuracy %", "p")
    sentences = [
        *said("the condition number", others, conditions, p_condition, lambda change: f"times {10**change:.2g}"),
        *said("accuracy", others, accuracies, p_accuracy, lambda change: f"{change:+.1f} points"),
    ]
    return ["\n".join(table(head, rows)).rstrip(), "\n".join(f"- {sentence}" for sentence in sentences)]


def said(
    what: str,
    names: Iterable[str],
    values: dict[str, list[float]],
    p_values: Iterable[float],
    change: Callable[[float], str],
) -> list[str]:
    """Which variants change ``what``, and by how much."""
    base = statistics.fmean(values["none"])
    real = [
        f"{name} ({change(statistics.fmean(values[name]) - base)})"
        for name, p in zip(names, p_values, strict=True)
        if p < LEVEL
    ]
    verb = f"is changed at {LEVEL:.0%} by: {', '.join(real)}" if real else f"is changed by none of them at {LEVEL:.0%}"
    return [f"{what[0].upper()}{what[1:]} {verb}."]


def against(base: Sequence[float], others: Sequence[Sequence[float]]) -> list[float]:
    """p values of paired t-tests of each against ``base``, adjusted after Holm; 1 where nothing differs at all."""
    raw = [1.0 if list(base) == list(other) else float(ttest_rel(other, base).pvalue) for other in others]
    order = sorted(range(len(raw)), key=raw.__getitem__)
    adjusted, least = [0.0] * len(raw), 0.0
    for rank, position in enumerate(order):
        least = max(least, min(1.0, (len(raw) - rank) * raw[position]))
        adjusted[position] = least
    return adjusted


def spread(values: Sequence[float]) -> str:
    """Mean ± standard deviation."""
    return f"{statistics.fmean(values):.2f}" + (f" ± {statistics.stdev(values):.2f}" if len(values) > 1 else "")


if __name__ == "__main__":
    main()
