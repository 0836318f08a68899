"""What a run logged in the course of its training, read from metrics.csv. Free of torch."""

from __future__ import annotations

import math
from collections import defaultdict
from pathlib import Path
from typing import NamedTuple

from lightning_modules import metric_names as names
from lightning_modules.metrics_file import STEP, Row
from lightning_modules.report.files import EPOCH, lost_lines, readable_metrics

LEARNING_RATE = "lr-"  # what Lightning's names of learning rates begin with
SHOWN = (
    names.of(names.TRAIN, names.LOSS_STEP), names.TRAIN_LOSS, names.VAL_LOSS, names.of(names.TRAIN, names.ACCURACY),
    names.VAL_ACCURACY, names.CONDITION,
)  # fmt: skip

Points = list[tuple[float, float]]


class Series(NamedTuple):
    """Metrics of a training.

    Attributes:
        points: by name (epochs of training done, value), in order; numbers that are not finite are left out.
        unit: what the first of the two counts: epochs, or steps where no epoch ended.
        damage: what of the file could not be used, in words; None: all of it could.
    """

    points: dict[str, Points]
    unit: str
    damage: str | None = None

    @property
    def end(self) -> float:
        """Where the training ended; 1: nothing is known."""
        return max((points[-1][0] for points in self.points.values() if points), default=1.0)

    @property
    def learning_rates(self) -> dict[str, Points]:
        """Those of the groups of parameters, by what tells them apart."""
        return {
            name.removeprefix(LEARNING_RATE): points
            for name, points in self.points.items()
            if name.startswith(LEARNING_RATE)
        }


def read_series(file: Path) -> Series:
    """The series of ``metrics.csv`` that are drawn; damaged lines are left out and counted. Raises DataError."""
    found: dict[str, dict[int, float]] = defaultdict(dict)
    per_epoch, damaged = 0.0, 0
    with readable_metrics(file) as (columns, rows):
        wanted = [name for name in columns if name in SHOWN or name.startswith(LEARNING_RATE)]
        for row in rows:
            if row is None:
                damaged += 1
                continue
            step = int(row[STEP])
            per_epoch = max(per_epoch, _steps_per_epoch(row, step))
            for name in wanted:
                if row[name] and math.isfinite(value := float(row[name])):
                    found[name][step] = value
    scale = per_epoch or 1.0
    points = {
        name: [((step + 1) / scale, value) for step, value in sorted(values.items())]
        for name, values in sorted(found.items())
    }
    return Series(points, "epoch" if per_epoch else "step", lost_lines(file.name, damaged))


def _steps_per_epoch(row: Row, step: int) -> float:
    """Steps of an epoch, from a row at the end of one; 0 for other rows."""
    epoch = float(row[EPOCH]) if row[EPOCH] else 0.0
    ends = bool(row.get(names.VAL_ACCURACY) or row.get(names.TRAIN_LOSS))
    return (step + 1) / epoch if ends and epoch >= 1 and math.isfinite(epoch) else 0.0
