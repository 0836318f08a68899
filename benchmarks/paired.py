"""Differences of methods over seeds they share: effect, interval, test."""

from __future__ import annotations

import itertools
import math
import statistics
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from scipy import stats

from lightning_modules.report.groups import rows_of
from lightning_modules.report.runs import METRIC, RunRecord
from lightning_modules.report.significance import Significance, significance


class Difference(NamedTuple):
    """Of two methods over the seeds both have.

    Attributes:
        mean: of the differences, the first minus the second.
        low, high: 95 % interval of Student's t over the seeds; equal to the mean where they do not vary.
        size: the mean in units of the differences' standard deviation (Cohen's d_z); None where that is 0.
        seeds: how many.
    """

    mean: float
    low: float
    high: float
    size: float | None
    seeds: int


def difference(first: Sequence[float], second: Sequence[float]) -> Difference:
    """Of values seed by seed, two or more.

    >>> difference([3.0, 4.0, 5.0], [1.0, 2.0, 3.0])
    Difference(mean=2.0, low=2.0, high=2.0, size=None, seeds=3)
    """
    each = [a - b for a, b in zip(first, second, strict=True)]
    mean, spread = statistics.fmean(each), statistics.stdev(each)
    half = float(stats.t.ppf(0.975, len(each) - 1)) * spread / math.sqrt(len(each))
    return Difference(mean, mean - half, mean + half, mean / spread if spread else None, len(each))


def over_images(first: Sequence[str], second: Sequence[str]) -> tuple[float, float]:
    """95 % interval of the difference in accuracy if other test images had been drawn, the trained networks being kept.

    Args:
        first, second: for each seed a 0 or 1 for each image, 1: right.

    >>> low, high = over_images(["1111"], ["1010"])
    >>> round(low, 2), round(high, 2)
    (-0.07, 1.07)
    """
    shares = [
        statistics.fmean(int(a) - int(b) for a, b in zip(ours, theirs, strict=True))
        for ours, theirs in zip(zip(*first, strict=True), zip(*second, strict=True), strict=True)
    ]
    mean, error = statistics.fmean(shares), statistics.stdev(shares) / math.sqrt(len(shares))
    return mean - 1.96 * error, mean + 1.96 * error


def compared(values: Mapping[str, Mapping[int, float]]) -> Significance:
    """Friedman's test, and paired t-tests of all pairs with Holm's adjustment, of values by method and seed."""
    records = [
        RunRecord(Path(f"{method}-{seed}"), {"method": method, "seed": seed, "status": "ok", METRIC: value})
        for method, by_seed in values.items()
        for seed, value in by_seed.items()
    ]
    return significance(rows_of(records))


def holm(raw: Sequence[float]) -> list[float]:
    """p values adjusted after Holm (1979), in the order they come.

    >>> holm([0.01, 0.04, 0.03])
    [0.03, 0.06, 0.06]
    """
    order = sorted(range(len(raw)), key=raw.__getitem__)
    largest = itertools.accumulate((min(1.0, raw[at] * (len(raw) - rank)) for rank, at in enumerate(order)), max)
    adjusted = dict(zip(order, largest, strict=True))
    return [adjusted[at] for at in range(len(raw))]
