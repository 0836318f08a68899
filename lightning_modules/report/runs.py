"""Runs as their directories tell them."""

from __future__ import annotations

import csv
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from omegaconf import OmegaConf

from gcp.errors import DataError
from lightning_modules.summary import FILE, OK, read_summary

OVERRIDES = Path(".hydra/overrides.yaml")
# Arguments that change nothing of what is compared, or are compared on their own.
NO_SETTING = {"method", "seed", "ckpt_path", "plugins", "mode"}
NO_SETTING_SECTIONS = ("sweep.", "callbacks.", "logger", "hydra.")


@dataclass(frozen=True)
class RunRecord:
    """One run.

    Attributes:
        directory: where it is.
        summary: its summary.json.
        asked: the arguments it was started with.
        config: its resolved configuration, empty if it failed before there was one.
        curve: (epoch, val/acc1) of each validation.
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
    def method(self) -> str:
        """Name of its method; FIRST+SECOND of a hybrid run."""
        second = (self.config.get("switch") or {}).get("to")
        method = str(self.summary.get("method") or "?")
        return method if second is None else f"{method}+{second}"

    @property
    def seed(self) -> str:
        """Its seed."""
        return str(self.summary.get("seed") or 0)

    @property
    def published(self) -> dict[str, Any]:
        """Published results of its recipe for its method: metrics by name, and ``source``; empty if there are none."""
        published = self.config.get("published") or {}
        return {**published[self.method], "source": published.get("source")} if self.method in published else {}

    def value(self, name: str) -> float | None:
        """A number of the summary."""
        value = self.summary.get(name)
        return float(value) if isinstance(value, (int, float)) else None


def read_runs(paths: Iterable[Path]) -> list[RunRecord]:
    """All runs in ``paths`` and below. Raises DataError if there is none."""
    paths = list(paths)
    for path in paths:
        if not path.is_dir():
            raise DataError(f"there is no folder {path}; give one that holds run directories")
    files = sorted({file for path in paths for file in path.rglob(FILE)}, key=_order)
    if not files:
        raise DataError(f"no {FILE} in {', '.join(map(str, paths))} or below; give a folder that holds run directories")
    return [_read(file.parent) for file in files]


def settings(runs: list[RunRecord]) -> list[dict[str, str]]:
    """Of each run, the arguments in which it differs from others, but for method and seed."""
    columns = sorted({name for run in runs for name in run.asked if _is_setting(name)})
    varying = [name for name in columns if len({run.asked.get(name) for run in runs}) > 1]
    kept = []
    for run in runs:
        facts = {name: str(run.summary.get(name) or "?") for name in ("backbone", "dataset")}
        kept.append({**facts, **{name: run.asked[name] for name in varying if name in run.asked and name not in facts}})
    return kept


def _is_setting(name: str) -> bool:
    return name not in NO_SETTING and not name.startswith(NO_SETTING_SECTIONS)


def _order(file: Path) -> tuple[str, int, str]:
    head = file.parent.name.partition("-")[0]
    return str(file.parent.parent), int(head) if head.isdigit() else 0, file.parent.name


def _read(directory: Path) -> RunRecord:
    overrides = directory / OVERRIDES
    asked = [str(each) for each in OmegaConf.load(overrides)] if overrides.exists() else []
    config_file = directory / "config.yaml"
    config = OmegaConf.to_container(OmegaConf.load(config_file)) if config_file.exists() else {}
    assert isinstance(config, dict)
    pairs = dict(each.lstrip("+~").split("=", 1) for each in asked if "=" in each)
    return RunRecord(
        directory, read_summary(directory), pairs, {str(k): v for k, v in config.items()}, _curve(directory)
    )


def _curve(directory: Path) -> list[tuple[int, float]]:
    file = directory / "metrics.csv"
    if not file.exists():
        return []
    with file.open(newline="") as stream:
        rows = [row for row in csv.DictReader(stream) if row.get("val/acc1")]
    return [(int(float(row["epoch"])) + 1, float(row["val/acc1"])) for row in rows if row.get("epoch")]
