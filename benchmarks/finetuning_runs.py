"""The runs of `benchmarks.finetuning`: which there are, what each does, and what is kept of it."""

from __future__ import annotations

import csv
import statistics
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks import lines
from lightning_modules import metric_names as names

METHODS = ("average", "isqrt", "pade", "taylor", "newton", "lyapunov", "halley", "bilinear", "hybrid")
RATES = (3e-4, 1e-3, 3e-3, 1e-2)
MORE_RATES = (3e-2, 1e-1)  # for a method that is best with the largest so far
GRID_SEED = 100  # none of the study's
SEEDS, EPOCHS, GRID_EPOCHS = 5, 4, 3
JUDGED = names.of(names.VAL, names.BALANCED_ACCURACY)
FIXED = (
    "trainer.accelerator=cpu",
    "threads=1",
    "callbacks.progress_bar=false",
    "callbacks.confusion_matrix=false",
    "callbacks.spectrum_every_n_steps=49",  # once an epoch
    "callbacks.smoothness_every_n_steps=98",
)
CURVE = (
    names.TRAIN_LOSS, names.of(names.VAL, names.LOSS), names.VAL_ACCURACY, JUDGED, names.of(names.VAL, names.MACRO_F1),
)  # fmt: skip
MONITORED = (*names.SPECTRUM, *names.GRADIENT)


@dataclass(frozen=True)
class Case:
    """One run.

    Attributes:
        method: of METHODS.
        seed: of new weights and order; the division into parts is the same for all.
        epochs: how many.
        lr: largest learning rate of the new layers; the pretrained ones have a tenth.
        tested: whether on the test part; runs that look for a rate are not.
    """

    method: str
    seed: int
    epochs: int
    lr: float
    tested: bool

    @property
    def overrides(self) -> list[str]:
        """The arguments of ``run.py``."""
        switch = [f"switch.epoch={2 * self.epochs // 3}"] if self.method == "hybrid" else []
        limit = [] if self.tested else ["trainer.limit_test_batches=0"]
        return [
            f"recipe=solar_lite0_{self.method}", f"seed={self.seed}", f"optimizer.lr={self.lr}",
            f"trainer.max_epochs={self.epochs}", *FIXED, *switch, *limit
        ]  # fmt: skip


Done = dict[Case, dict[str, Any]]


def grid(done: Done) -> Iterator[Case]:
    """The runs that look for learning rates, as far as is known before they are done."""
    return (searching(method, lr) for method in METHODS for lr in searched(done, method))


def searching(method: str, lr: float) -> Case:
    """The run that tries a rate."""
    return Case(method, GRID_SEED, GRID_EPOCHS, lr, False)


def searched(done: Done, method: str) -> list[float]:
    """The rates to try."""
    rates = list(RATES)
    for more in MORE_RATES:
        found = {lr: done.get(searching(method, lr)) for lr in rates}
        complete = {lr: judged(result) for lr, result in found.items() if result is not None}
        if len(complete) == len(rates) and max(complete, key=complete.__getitem__) == rates[-1]:
            rates.append(more)
    return rates


def study(done: Done, seeds: int) -> Iterator[Case]:
    """The runs with the chosen rates, seed after seed."""
    rates = {method: chosen_rate(done, method) for method in METHODS}
    return (
        Case(method, seed, EPOCHS, lr, True) for seed in range(seeds) for method in METHODS if (lr := rates[method])
    )


def judged(result: dict[str, Any]) -> float:
    """Mean validation balanced accuracy of the last half of the epochs; that of a single epoch is noisier."""
    curve = [epoch[JUDGED] for epoch in result["curve"] if epoch.get(JUDGED) is not None]
    return statistics.fmean(curve[len(curve) // 2 :]) if curve and result["error"] is None else 0.0


def chosen_rate(done: Done, method: str) -> float | None:
    """The rate of the grid that was best on the validation part; None: the grid is not finished."""
    found = {lr: done.get(searching(method, lr)) for lr in searched(done, method)}
    complete = {lr: judged(result) for lr, result in found.items() if result is not None}
    return max(complete, key=complete.__getitem__) if len(complete) == len(found) else None


def run(case: Case, features: Path) -> dict[str, Any]:
    """Train, and test where the case says so: the settings that differ from the defaults, and what was measured."""
    from benchmarks.training import fitted
    from benchmarks.watching import Watch
    from gcp.errors import DecompositionError, NonFiniteError

    watch = Watch()
    with tempfile.TemporaryDirectory() as folder:
        error: str | None = None
        summary: dict[str, Any] = {}
        try:
            _, summary = fitted(Path(folder), [*case.overrides, f"training.features_folder={features}"], [watch])
        except (NonFiniteError, DecompositionError) as failed:
            error = str(failed)
        rows = _rows(Path(folder, "metrics.csv"))
    sections = (names.of(names.TEST, ""), names.of(names.TEST_FINAL, ""))
    tested = {name: summary.get(name) for name in summary if name.startswith(sections)}
    return {
        "overrides": case.overrides,
        "error": error,
        "test": tested if case.tested else {},
        "best_epoch": summary.get(names.BEST_EPOCH),
        "curve": _curve(rows),
        "monitor": [{"step": int(row["step"]), **_numbers(row, MONITORED)} for row in rows if _numbers(row, MONITORED)],
        **watch.seen,
    }


def _rows(file: Path) -> list[dict[str, str]]:
    if not file.exists():
        return []
    with file.open(newline="") as stream:
        return list(csv.DictReader(stream))


def _numbers(row: dict[str, str], wanted: tuple[str, ...]) -> dict[str, float]:
    return {name: float(f"{float(row[name]):.5g}") for name in wanted if row.get(name)}


def _curve(rows: list[dict[str, str]]) -> list[dict[str, float]]:
    """The numbers of each epoch, from 1 on."""
    epochs: dict[int, dict[str, float]] = {}
    for row in rows:
        if row.get("epoch"):
            epochs.setdefault(int(row["epoch"]), {}).update(_numbers(row, CURVE))
    return [{"epoch": epoch, **numbers} for epoch, numbers in sorted(epochs.items()) if numbers]


def read(file: Path) -> Done:
    """The finished runs."""
    done = {}
    for entry in lines.read(file):
        done[Case(**entry.pop("case"))] = entry
    return done
