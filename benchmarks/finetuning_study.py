"""What the runs of `benchmarks.finetuning` say: values by method and seed, and sentences that follow from them."""

from __future__ import annotations

import itertools
import statistics
from collections.abc import Callable, Iterable
from typing import Any

from benchmarks.finetuning_runs import EPOCHS, METHODS, Case, Done, chosen_rate
from benchmarks.paired import compared, difference
from lightning_modules import metric_names as names
from lightning_modules.report.significance import LEVEL

METRICS: dict[str, Callable[[dict[str, Any]], float]] = {
    "accuracy": lambda result: result["test"][names.TEST_ACCURACY],
    "balanced accuracy": lambda result: result["test"][names.TEST_BALANCED_ACCURACY],
    "macro F1": lambda result: result["test"][names.TEST_MACRO_F1],
    "calibration error": lambda result: result["calibration_error"],
}
EXACT = ("pade", "lyapunov")  # the same derivative, in two forms


class Study:
    """The runs with the chosen rates, by method and seed; seeds count that every method has done.

    Attributes:
        runs: results, those that failed included.
        seeds: that all methods have.
        more: runs of further seeds, which some methods lack.
    """

    def __init__(self, done: Done) -> None:
        self.done = done
        self.rates = {method: chosen_rate(done, method) for method in METHODS}
        every = {
            method: {case.seed: result for case, result in done.items() if self._counts(case, method)}
            for method in METHODS
        }
        self.seeds = sorted(set.intersection(*(set(runs) for runs in every.values())))
        self.runs = {method: {seed: runs[seed] for seed in self.seeds} for method, runs in every.items()}
        self.more = sum(map(len, every.values())) - len(METHODS) * len(self.seeds)

    def _counts(self, case: Case, method: str) -> bool:
        return case == Case(method, case.seed, EPOCHS, self.rates[method] or 0.0, True)

    def values(self, metric: str) -> dict[str, dict[int, float]]:
        """A metric of the test part by method and seed, of the runs that finished."""
        get = METRICS[metric]
        return {
            method: {seed: get(result) for seed, result in runs.items() if result["error"] is None}
            for method, runs in self.runs.items()
        }

    def common(self, method: str, other: str) -> list[int]:
        """Seeds both have finished."""
        return [seed for seed in self.seeds if not any(self.runs[each][seed]["error"] for each in (method, other))]


def monitored(study: Study, method: str, name: str) -> list[list[tuple[int, float]]]:
    """For each seed the steps and values of a number of the monitor."""
    return [
        [(entry["step"], entry[name]) for entry in result["monitor"] if name in entry]
        for result in study.runs[method].values()
    ]


def listed(words: Iterable[str]) -> str:
    """One, two and three."""
    *first, last = words
    return f"{', '.join(first)} and {last}" if first else last


def _reach(study: Study, metric: str, group: Iterable[str]) -> str:
    """How large a difference inside a group its intervals leave possible."""
    values = study.values(metric)
    reach = 0.0
    for first, second in itertools.combinations(group, 2):
        seeds = study.common(first, second)
        if len(seeds) > 1:
            pair = difference([values[first][seed] for seed in seeds], [values[second][seed] for seed in seeds])
            reach = max(reach, -pair.low, pair.high)
    return f"their 95% intervals, pair by pair, reach {100 * reach:.1f} points from 0 at most"


def conclusions(study: Study) -> list[str]:
    """What the numbers say, and no more."""
    found = []
    failed = {
        method: sum(result["error"] is not None for result in runs.values()) for method, runs in study.runs.items()
    }
    unstable = [f"{method} ({count})" for method, count in failed.items() if count]
    found.append(f"Runs that failed: {listed(unstable)}." if unstable else "No run failed, and no loss was NaN.")
    for metric in METRICS:
        pairs = compared(study.values(metric)).pairs
        apart = [pair for pair in pairs if pair.p < LEVEL]
        group = ("pade", "taylor", "newton", "lyapunov", "halley")
        inside = [pair for pair in apart if pair.first in group and pair.second in group]
        against = {
            base: [pair for pair in apart if base in (pair.first, pair.second)] for base in ("average", "bilinear")
        }
        said = "no two" if not inside else f"{len(inside)} pairs"
        found.append(
            f"{metric[0].upper()}{metric[1:]}: {said} of the SVD methods differ at {LEVEL:.0%}, and "
            f"{_reach(study, metric, group)}; "
            + "; ".join(f"{len(some)} of 8 differ from {base}" for base, some in against.items())
            + "."
        )
    first, second = (study.runs[method] for method in EXACT)
    alike = sum(first[seed].get("right") == second[seed].get("right") for seed in study.seeds)
    found.append(
        f"{EXACT[0]} and {EXACT[1]} are one derivative in two forms: they classify all test images alike in {alike} of "
        f"{len(study.seeds)} seeds."
    )
    seconds = {
        method: statistics.median(second for result in runs.values() for second in result["epoch_seconds"])
        for method, runs in study.runs.items()
    }
    ratio = {method: seconds[method] / seconds["average"] for method in METHODS}
    found.append(
        "An epoch takes, in units of average's: "
        + ", ".join(f"{method} {value:.2f}" for method, value in ratio.items() if method != "average")
        + " (the frozen stages, which all share, not counted)."
    )
    return found
