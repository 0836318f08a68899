"""Learning-rate schedules: factors as pure functions of the epoch, and the scheduler that applies one after a warm-up.

A factor function takes ``(epoch, options, span)`` and gives what ``optimizer.lr`` is multiplied by in that epoch.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from torch.optim import Optimizer
from torch.optim.lr_scheduler import LambdaLR

from gcp.errors import OptionError
from lightning_modules.settings.optimisation import CosineOptions, LogOptions, ScheduleOptions, StepOptions


@dataclass(frozen=True)
class Span:
    """What schedules stretch over.

    Attributes:
        epochs: epochs of the whole training; None if that is not known.
        lr: ``optimizer.lr``.
        warmup: epochs of warm-up, which may end inside an epoch.
    """

    epochs: int | None
    lr: float
    warmup: float = 0.0

    def progress(self, epoch: int, last: int) -> float:
        """How far ``epoch`` lies between the end of the warm-up, 0, and ``epochs - last``, 1.

        Raises OptionError without a number of epochs.
        """
        if self.epochs is None:
            raise OptionError("this schedule needs the number of epochs; set trainer.max_epochs")
        length = self.epochs - last - self.warmup
        return min(max((epoch - self.warmup) / length, 0.0), 1.0) if length > 0 else 0.0


def constant(epoch: int, options: ScheduleOptions, span: Span) -> float:
    """1."""
    return 1.0


def step(epoch: int, options: StepOptions, span: Span) -> float:
    """``gamma`` once for each of the ``milestones`` (epochs of the whole training) that are behind."""
    return options.gamma ** sum(epoch >= milestone for milestone in options.milestones)


def cosine(epoch: int, options: CosineOptions, span: Span) -> float:
    """Half a cosine from 1, after the warm-up, to ``final_factor``, which the epoch after the last would have.

    SGDR without restarts (arXiv 1608.03983).
    """
    final = options.final_factor
    return final + (1 - final) * (1 + math.cos(math.pi * span.progress(epoch, last=0))) / 2


def log(epoch: int, options: LogOptions, span: Span) -> float:
    """Logarithmic from 10^p0, after the warm-up, to 10^p1 in the last epoch, as learning rates."""
    first = math.log10(span.lr) if options.p0 is None else options.p0
    return float(10 ** (first + (options.p1 - first) * span.progress(epoch, last=1))) / span.lr


def warmup_factor(done: float, length: int, start: float) -> float:
    """Linear from ``start`` to 1 after ``length`` of whatever ``done`` counts, as torch's LinearLR has it."""
    return 1.0 if done >= length else start + (1 - start) * done / length


def schedule(
    optimizer: Optimizer,
    factor: Callable[[int, Any, Span], float],
    options: ScheduleOptions,
    epochs: int | None,
    steps_per_epoch: Callable[[], int],
) -> dict[str, Any]:
    """The scheduler of ``factor``, and how often Lightning ticks it: each epoch, or each step for a warm-up in steps.

    Its state is a count of ticks and nothing else, so that resuming is exact.

    Args:
        optimizer: its ``defaults`` hold the learning rate.
        factor: a factor function.
        options: of the schedule.
        epochs: epochs of the whole training; None if not known.
        steps_per_epoch: gives the optimizer steps of an epoch; asked only if steps are counted.

    Raises:
        OptionError: a warm-up longer than the training, or a schedule that needs a number of epochs without one.
    """
    in_steps = options.warmup_steps > 0
    ticks = steps_per_epoch() if in_steps else 1  # of an epoch
    length = options.warmup_steps or options.warmup_epochs
    name, unit = ("warmup_steps", "steps") if in_steps else ("warmup_epochs", "epochs")
    if epochs is not None and length >= epochs * ticks and length > 0:
        raise OptionError(f"schedule.{name}={length} leaves nothing of a training of {epochs * ticks} {unit}")
    span = Span(epochs, float(optimizer.defaults["lr"]), warmup=length / ticks)

    def factor_at(tick: int) -> float:
        return warmup_factor(tick, length, options.warmup_factor) * factor(tick // ticks, options, span)

    return {"scheduler": LambdaLR(optimizer, factor_at), "interval": "step" if in_steps else "epoch"}
