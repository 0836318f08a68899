"""Runs that differ in their seeds only, as one row; rows that differ in their method only, as one comparison."""

from __future__ import annotations

import math
import statistics
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, field

from lightning_modules.report.differences import settings
from lightning_modules.report.runs import METRIC, RunRecord, Skipped, number

PLACE = ("backbone", "dataset")


@dataclass(frozen=True)
class Row:
    """A method under a setting.

    Attributes:
        method: its name.
        setting: what it was trained and tested on and with; options only where rows differ.
        runs: its replicates, finished and failed, one for each seed.
        variant: options of the method itself, only where rows differ.
        repeats: further runs of seeds that are in ``runs`` already.
    """

    method: str
    setting: dict[str, str]
    runs: list[RunRecord]
    variant: dict[str, str] = field(default_factory=dict)
    repeats: list[Skipped] = field(default_factory=list)

    @property
    def name(self) -> str:
        """The method with those of its options that vary: "taylor degree=50"."""
        return " ".join([self.method, *short(self.variant)])

    @property
    def options(self) -> dict[str, str]:
        """All options in which it differs from other rows on the dataset; not the backbone."""
        return {**self.variant, **{name: value for name, value in self.setting.items() if name not in PLACE}}

    @property
    def finished(self) -> list[RunRecord]:
        """The runs that have a result."""
        return [run for run in self.runs if has_result(run)]

    @property
    def failed(self) -> list[RunRecord]:
        """The runs that have no result."""
        return [run for run in self.runs if not has_result(run)]

    def values(self, name: str = METRIC) -> list[float]:
        """One number, ``metric``, of each finished run."""
        found = [run.value(name) for run in self.finished]
        return [value for value in found if value is not None]

    def mean(self, name: str = METRIC) -> float | None:
        """Mean over the finished runs; NaN if one of them has NaN or infinity."""
        values = self.values(name)
        if not values:
            return None
        return statistics.fmean(values) if all(map(math.isfinite, values)) else math.nan

    def spread(self, name: str = METRIC) -> float | None:
        """Standard deviation over the finished runs; None for fewer than two."""
        values = self.values(name)
        if len(values) < 2:
            return None
        return statistics.stdev(values) if all(map(math.isfinite, values)) else math.nan

    def by_seed(self) -> dict[str, float]:
        """The metric by seed."""
        return {run.seed: value for run in self.finished if (value := run.value(METRIC)) is not None}

    @property
    def published(self) -> float | None:
        """The published value of the metric, where the recipe has one."""
        return number(self.runs[0].published.get(METRIC))

    def curve(self) -> list[tuple[int, float]]:
        """Mean validation accuracy by epoch, over the epochs all finished runs have."""
        return [(epoch, statistics.fmean(values)) for epoch, values in self._curves()]

    def band(self) -> list[tuple[int, float, float]]:
        """Mean minus and plus the standard deviation by epoch, within 0 and 1; empty for fewer than two runs."""
        found = []
        for epoch, values in self._curves():
            if len(values) > 1:
                mean, spread = statistics.fmean(values), statistics.stdev(values)
                found.append((epoch, max(mean - spread, 0.0), min(mean + spread, 1.0)))
        return found

    def _curves(self) -> list[tuple[int, list[float]]]:
        curves = [dict(run.curve) for run in self.finished if run.curve]
        epochs = sorted(set.intersection(*(set(curve) for curve in curves))) if curves else []
        return [(epoch, [curve[epoch] for curve in curves]) for epoch in epochs]


def has_result(run: RunRecord) -> bool:
    """Whether it has finished, with a number."""
    value = run.value(METRIC)
    return run.ok and value is not None and math.isfinite(value)


def rows_of(runs: list[RunRecord]) -> list[Row]:
    """One row per method and setting, in the order the runs come; of several runs of one seed, one counts."""
    together: dict[tuple[object, ...], list[RunRecord]] = defaultdict(list)
    found = settings(runs)
    for run, setting in zip(runs, found, strict=True):
        together[setting.key].append(run)
    setting_of = {setting.key: setting for setting in found}
    rows = []
    for key, group in together.items():
        kept, repeats = _one_of_each_seed(group)
        setting = setting_of[key]
        rows.append(Row(setting.method, setting.others, kept, setting.variant, repeats))
    return rows


def _one_of_each_seed(runs: list[RunRecord]) -> tuple[list[RunRecord], list[Skipped]]:
    """The finished run of each seed, or the newest one; and what else there is."""
    by_seed: dict[str, list[RunRecord]] = defaultdict(list)
    for run in runs:
        by_seed[run.seed].append(run)
    kept, repeats = [], []
    for seed, same in by_seed.items():
        counts = max(same, key=lambda run: (has_result(run), run.started))
        kept.append(counts)
        reason = f"the same run as {counts.directory}, seed {seed} again, and no further replicate"
        repeats += [Skipped(run.directory, reason) for run in same if run is not counts]
    return kept, repeats


def comparisons(rows: Iterable[Row]) -> list[tuple[dict[str, str], list[Row]]]:
    """Rows under the same setting together."""
    grouped: dict[tuple[tuple[str, str], ...], list[Row]] = defaultdict(list)
    for row in rows:
        grouped[tuple(sorted(row.setting.items()))].append(row)
    return [(dict(key), group) for key, group in grouped.items()]


@dataclass(frozen=True)
class Section:
    """The rows on one dataset: one table.

    Attributes:
        title: what they have in common.
        columns: the options in which they differ, beside the method.
        rows: best first, those without a result last.
    """

    title: str
    columns: list[str]
    rows: list[Row]

    def cells(self, row: Row) -> list[str]:
        """A row's options, in the order of the columns; empty where it has none or its default."""
        return [row.setting[name] if name == "backbone" else row.options.get(name, "") for name in self.columns]


def sections(rows: Iterable[Row]) -> list[Section]:
    """A section for each dataset."""
    grouped: dict[str, list[Row]] = defaultdict(list)
    for row in rows:
        grouped[row.setting["dataset"]].append(row)
    found = []
    for dataset, group in grouped.items():
        backbones = list(dict.fromkeys(row.setting["backbone"] for row in group))
        columns = [name for row in group for name in row.options]
        title = f"{backbones[0]} on {dataset}" if len(backbones) == 1 else dataset
        found.append(Section(title, ["backbone"] * (len(backbones) > 1) + sorted(set(columns)), ranked(group)))
    return found


def ranked(rows: Iterable[Row]) -> list[Row]:
    """Best first, those without a result last."""
    return sorted(rows, key=lambda row: -1 if (mean := row.mean()) is None else mean, reverse=True)


def described(setting: dict[str, str]) -> str:
    """A setting in a line."""
    place = " on ".join(setting[name] for name in PLACE if name in setting)
    rest = [f"{name}={value}" for name, value in setting.items() if name not in PLACE]
    return ", ".join([place, *rest])


def short(options: dict[str, str]) -> list[str]:
    """Options with the last part of their names: "degree=50"."""
    return [f"{name.rpartition('.')[2]}={value}" for name, value in options.items()]
