"""Runs that differ in their seeds only, as one row; rows that differ in their method only, as one comparison."""

from __future__ import annotations

import math
import statistics
from dataclasses import dataclass

from lightning_modules.report.runs import RunRecord, settings

METRIC = "test/acc1"


@dataclass(frozen=True)
class Row:
    """A method under a setting.

    Attributes:
        method: its name.
        setting: the arguments that make the setting.
        runs: its runs, finished and failed.
    """

    method: str
    setting: dict[str, str]
    runs: list[RunRecord]

    @property
    def finished(self) -> list[RunRecord]:
        """The runs that have a result."""
        return [run for run in self.runs if run.ok and run.value(METRIC) is not None]

    @property
    def failed(self) -> list[RunRecord]:
        """The runs that have none."""
        return [run for run in self.runs if not run.ok]

    def values(self, name: str = METRIC) -> list[float]:
        """A number of each finished run."""
        found = [run.value(name) for run in self.finished]
        return [value for value in found if value is not None]

    def mean(self, name: str = METRIC) -> float | None:
        """Mean over the finished runs."""
        values = self.values(name)
        return statistics.fmean(values) if values else None

    def spread(self, name: str = METRIC) -> float | None:
        """Standard deviation over the finished runs; none for fewer than two."""
        values = self.values(name)
        return statistics.stdev(values) if len(values) > 1 else None

    def by_seed(self) -> dict[str, float]:
        """The metric by seed."""
        return {run.seed: value for run in self.finished if (value := run.value(METRIC)) is not None}

    @property
    def published(self) -> float | None:
        """The published value of the metric, where the recipe has one."""
        value = self.runs[0].published.get(METRIC)
        return None if value is None else float(value)

    def curve(self) -> list[tuple[int, float]]:
        """Mean validation accuracy by epoch, over the epochs all finished runs have."""
        curves = [dict(run.curve) for run in self.finished if run.curve]
        if not curves:
            return []
        epochs = sorted(set.intersection(*(set(curve) for curve in curves)))
        return [(epoch, statistics.fmean(curve[epoch] for curve in curves)) for epoch in epochs]


def rows_of(runs: list[RunRecord]) -> list[Row]:
    """One row per method and setting, in the order the runs come."""
    rows: dict[tuple[object, ...], Row] = {}
    for run, setting in zip(runs, settings(runs), strict=True):
        key = (run.method, *sorted(setting.items()))
        rows.setdefault(key, Row(run.method, setting, [])).runs.append(run)
    return list(rows.values())


def comparisons(rows: list[Row]) -> list[tuple[dict[str, str], list[Row]]]:
    """Rows under the same setting together."""
    grouped: dict[tuple[tuple[str, str], ...], list[Row]] = {}
    for row in rows:
        grouped.setdefault(tuple(sorted(row.setting.items())), []).append(row)
    return [(dict(key), group) for key, group in grouped.items()]


def described(setting: dict[str, str]) -> str:
    """A setting in a line."""
    facts = " on ".join(setting[name] for name in ("backbone", "dataset") if name in setting)
    rest = [f"{name}={value}" for name, value in setting.items() if name not in ("backbone", "dataset")]
    return ", ".join([facts, *rest])


def finite(value: float | None) -> bool:
    """Whether there is a number."""
    return value is not None and math.isfinite(value)
