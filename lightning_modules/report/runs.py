"""Runs, read from their directories. Free of torch."""

from __future__ import annotations

import math
import os
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any, NamedTuple

from gcp.errors import DataError
from lightning_modules.metric_names import TEST_ACCURACY
from lightning_modules.report.files import printable, read_curve, read_json, read_yaml
from lightning_modules.run.checkpoint_names import FIRST
from lightning_modules.run.summary import ASKED, CONFIG, FILE, METRICS, OK

METRIC = TEST_ACCURACY
MODES = ("fit", "test")  # those that end in a result


@dataclass(frozen=True)
class RunRecord:
    """One run.

    Attributes:
        directory: where it is.
        summary: its summary.json.
        asked: the arguments it was started with.
        config: its resolved configuration, empty if it failed before there was one.
        curve: (epoch, val/acc1) of each validation, epochs counted from 1.
    """

    directory: Path
    summary: dict[str, Any]
    asked: dict[str, str] = field(default_factory=dict)
    config: dict[str, Any] = field(default_factory=dict)
    curve: list[tuple[int, float]] = field(default_factory=list)

    @property
    def ok(self) -> bool:
        """Whether it finished."""
        return self.summary.get("status") == OK

    @property
    def mode(self) -> str:
        """What it did. A trained run that was tested again in its own directory is still a trained one."""
        return str(self.config.get("mode") or self.summary.get("mode") or "fit")

    @property
    def method(self) -> str:
        """Name of its method; FIRST+SECOND of a hybrid run."""
        second = self.section("switch").get("to")
        method = printable(self.summary.get("method") or "?")
        return method if second is None else f"{method}+{printable(second)}"

    @property
    def backbone(self) -> str:
        """Name of its backbone."""
        return printable(self.summary.get("backbone") or "?")

    @property
    def dataset(self) -> str:
        """Name of its dataset."""
        return printable(self.summary.get("dataset") or "?")

    @property
    def seed(self) -> str:
        """Its seed."""
        return printable(self.summary.get("seed") or 0)

    @property
    def started(self) -> float:
        """When, in seconds; 0: unknown."""
        try:
            return datetime.fromisoformat(self.summary["started"]).timestamp()
        except (KeyError, TypeError, ValueError, OverflowError):
            return 0.0

    @property
    def published(self) -> dict[str, Any]:
        """Published results of its recipe for its method: metrics by name, and ``source``; empty if there are none.

        They are those of the recipe's dataset, and say nothing of a run on another one.
        """
        published = self.section("published")
        results = published.get(self.method)
        if not isinstance(results, dict) or published.get("dataset") not in (None, self.summary.get("dataset")):
            return {}
        return {**results, "source": published.get("source")}

    def section(self, name: str) -> dict[str, Any]:
        """A section of the configuration; empty if there is none."""
        found = self.config.get(name)
        return found if isinstance(found, dict) else {}

    def value(self, name: str) -> float | None:
        """A number of the summary."""
        return number(self.summary.get(name))


class Skipped(NamedTuple):
    """A run directory that is in no table.

    Attributes:
        directory: where it is.
        reason: why.
    """

    directory: Path
    reason: str


class Found(NamedTuple):
    """The run directories in a folder.

    Attributes:
        runs: those that trained or tested a network.
        skipped: all others.
        damage: (directory, what of its curve is missing) of runs that count all the same.
    """

    runs: list[RunRecord]
    skipped: list[Skipped]
    damage: list[Skipped]


def read_runs(paths: Iterable[Path]) -> Found:
    """All runs in ``paths`` and below. Raises DataError if there is none that can be read."""
    paths = list(paths)
    for path in paths:
        if not path.is_dir():
            raise DataError(f"there is no folder {path}; give one that holds run directories")
    found = Found([], [], [])
    files = sorted({file for path in paths for file in _summaries(path, found)}, key=_order)
    if not files and found.skipped:
        raise DataError(f"{found.skipped[0].directory}: {found.skipped[0].reason}; mend that")
    if not files:
        raise DataError(f"no {FILE} in {', '.join(map(str, paths))} or below; give a folder that holds run directories")
    for file in files:
        directory = file.parent
        try:
            run = read_run(directory)
        except (DataError, OSError) as error:
            found.skipped.append(Skipped(directory, f"damaged: {printable(error)}"))
            continue
        if run.mode not in MODES:
            found.skipped.append(Skipped(directory, f"mode={printable(run.mode)} has no result to compare"))
        elif directory.name == FIRST and (directory.parent / FILE).exists():
            found.skipped.append(Skipped(directory, "the first stage of the run above it"))
        else:
            curve = read_curve(directory / METRICS)
            run.curve.extend(curve.points)
            found.runs.append(run)
            if curve.damage:
                found.damage.append(Skipped(directory, curve.damage))
    if not found.runs:
        first = found.skipped[0]
        raise DataError(
            f"none of the {len(files)} run directories in {', '.join(map(str, paths))} has a result to compare; "
            f"the first, {first.directory}: {first.reason}"
        )
    return found


def _summaries(path: Path, found: Found) -> Iterator[Path]:
    """The summaries in ``path`` and below; folders that cannot be looked into are noted."""

    def note(error: OSError) -> None:
        found.skipped.append(Skipped(Path(str(error.filename)), f"cannot be read ({error.strerror})"))

    for folder, _, names in os.walk(path, onerror=note):
        if FILE in names:
            yield Path(folder, FILE)


def number(value: object) -> float | None:
    """A number as such, NaN and infinity included; None for anything else."""
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return None
    try:
        return float(value)
    except OverflowError:
        return math.inf


def _order(file: Path) -> tuple[str, int, str]:
    head = file.parent.name.partition("-")[0]
    return str(file.parent.parent), int(head) if head.isdecimal() and len(head) < 10 else 0, file.parent.name


def read_run(directory: Path) -> RunRecord:
    """The run, but for its curve. Raises DataError if what is there is not what a run writes."""
    summary = read_json(directory / FILE)
    for name in ("method", "backbone", "dataset", "mode", "status"):
        if not isinstance(summary.get(name), (str, type(None))):
            raise DataError(f"{FILE} has no name for '{name}' but {printable(summary[name])}")
    seed = summary.get("seed")
    if isinstance(seed, bool) or not isinstance(seed, (int, str, type(None))):
        raise DataError(f"{FILE} has no seed but {printable(seed)}")
    result = number(summary.get(METRIC))
    if summary.get(METRIC) is not None and (result is None or not 0 <= result <= 1):
        raise DataError(f"{FILE} has {METRIC}={printable(summary[METRIC])}, which is no accuracy")
    overrides, file = directory / ASKED, directory / CONFIG
    asked = read_yaml(overrides) if overrides.exists() else []
    config = read_yaml(file) if file.exists() else {}
    if not isinstance(asked, list):
        raise DataError(f"{overrides.name} is no list of arguments")
    if not isinstance(config, dict):
        raise DataError(f"{file.name} is no configuration")
    pairs = dict(str(each).lstrip("+~").split("=", 1) for each in asked if "=" in str(each))
    return RunRecord(directory, summary, pairs, {str(key): value for key, value in config.items()})
