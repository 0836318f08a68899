"""Whether methods differ by more than their seeds do."""

from __future__ import annotations

import itertools
import warnings
from typing import NamedTuple

from scipy import stats

from lightning_modules.report.groups import Row

LEVEL = 0.05


class Pair(NamedTuple):
    """Two methods compared over the seeds both have.

    Attributes:
        first, second: their names.
        difference: mean of first minus second.
        p: of a paired t-test, adjusted for the number of pairs (Holm 1979).
    """

    first: str
    second: str
    difference: float
    p: float

    def __str__(self) -> str:
        sign = ">" if self.difference > 0 else "<"
        return f"{self.first} {sign} {self.second} by {abs(self.difference):.2%} (p = {self.p:.2g})"


class Significance(NamedTuple):
    """What a comparison shows.

    Attributes:
        methods: how many there are, with or without a result; one with several options is one.
        compared: those with a result, by `Row.name`.
        seeds: seeds that all of these have finished.
        friedman: p value of Friedman's test that all are alike; None for fewer than three methods or two seeds.
        pairs: all pairs, smallest p first; empty for fewer than two seeds.
    """

    methods: int
    compared: list[str]
    seeds: list[str]
    friedman: float | None
    pairs: list[Pair]

    def sentence(self) -> str:
        """What may be concluded, in words; nothing of a method on its own."""
        if self.methods < 2:
            return ""
        if len(self.compared) < 2:
            return f"Nothing to compare: {self.compared[0] if self.compared else 'no method'} alone has a result."
        if len(self.seeds) < 2:
            return "Fewer than two seeds in common: what is method and what is chance cannot be told apart."
        over = f"over {len(self.seeds)} seeds"
        overall = "" if self.friedman is None else f"Friedman's test {over}: p = {self.friedman:.2g}. "
        apart = [pair for pair in self.pairs if pair.p < LEVEL]
        if not apart:
            return (
                f"{overall}No two methods differ at the level of {LEVEL:.0%} (paired t-tests {over}, Holm's "
                "adjustment); their order above is not evidence."
            )
        named = ", ".join(str(pair) for pair in apart[:8])
        more = f", and {len(apart) - 8} more" if len(apart) > 8 else ""
        return f"{overall}{len(apart)} of {len(self.pairs)} pairs differ at {LEVEL:.0%}, adjusted: {named}{more}."


def significance(rows: list[Row]) -> Significance:
    """Compare the methods of one setting, over the seeds that all have finished."""
    results = {row.name: row.by_seed() for row in rows if row.finished}
    methods = len({row.method for row in rows})
    seeds = sorted(set.intersection(*(set(each) for each in results.values()))) if results else []
    if len(seeds) < 2 or len(results) < 2:
        return Significance(methods, list(results), seeds, None, [])
    columns = {method: [each[seed] for seed in seeds] for method, each in results.items()}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # columns that are equal, or differ by a constant
        friedman = float(stats.friedmanchisquare(*columns.values()).pvalue) if len(columns) > 2 else None
        raw = [
            (first, second, _mean_difference(a, b), float(stats.ttest_rel(a, b).pvalue))
            for (first, a), (second, b) in itertools.combinations(columns.items(), 2)
        ]
    friedman = 1.0 if friedman is not None and friedman != friedman else friedman  # all ranks tied
    adjusted = _holm([(*pair[:3], 1.0 if pair[3] != pair[3] else pair[3]) for pair in raw])
    return Significance(methods, list(results), seeds, friedman, adjusted)


def _mean_difference(a: list[float], b: list[float]) -> float:
    return sum(x - y for x, y in zip(a, b, strict=True)) / len(a)


def _holm(pairs: list[tuple[str, str, float, float]]) -> list[Pair]:
    adjusted, largest = [], 0.0
    for position, (first, second, difference, p) in enumerate(sorted(pairs, key=lambda pair: pair[3])):
        largest = max(largest, min(1.0, p * (len(pairs) - position)))
        adjusted.append(Pair(first, second, difference, largest))
    return adjusted
