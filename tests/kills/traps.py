"""Signals that a run gets at a named point of its work, to its whole process group, as a terminal or scheduler does."""

from __future__ import annotations

import io
import os
import signal
import time
from collections.abc import Callable
from typing import Any

import torch

from lightning_modules.callbacks.throughput import Throughput
from lightning_modules.classifier import Classifier
from lightning_modules.modes import fit, stages

SENDING = {
    "kill": [signal.SIGKILL],
    "SIGTERM": [signal.SIGTERM],
    "Ctrl-C": [signal.SIGINT],
    "double Ctrl-C": [signal.SIGINT, signal.SIGINT],
}
EPOCH, BATCH = 1, 1  # where inside training and validation


class Trap:
    """Sends once, when `spring` is called for the first time after it has been armed."""

    def __init__(self, how: str, armed: bool) -> None:
        self.how = how
        self.armed = armed

    def spring(self) -> None:
        if self.armed:
            self.armed = False
            for each in SENDING[self.how]:
                _send_to_group(each)


def set_trap(point: str, how: str, second_stage: bool) -> None:
    """Patch this process, which is thrown away afterwards.

    Args:
        point: one of `POINTS`.
        how: one of `SENDING`.
        second_stage: whether to wait for the second of two stages.
    """
    trap = Trap(how, armed=not second_stage)
    train = stages._train

    def train_first(*arguments: Any) -> None:
        train(*arguments)
        trap.armed = True

    if second_stage:
        stages._train = train_first  # type: ignore[assignment]
    POINTS[point](trap)


def _at_start(trap: Trap) -> None:
    _before(fit, "build_data", trap)


def _in_batch(trap: Trap) -> None:
    """Between forward and backward."""

    def wrap(step: Callable[..., Any]) -> Callable[..., Any]:
        def training_step(self: Classifier, batch: Any, batch_idx: int) -> Any:
            loss = step(self, batch, batch_idx)
            if (self.current_epoch, batch_idx) == (EPOCH, BATCH):
                trap.spring()
            return loss

        return training_step

    Classifier.training_step = wrap(Classifier.training_step)  # type: ignore[method-assign]


def _after_step(trap: Trap, last: bool = False) -> None:
    """After the optimizer's step, before any callback has done with it."""
    original = Throughput.on_train_batch_end

    def on_train_batch_end(
        self: Throughput, trainer: Any, module: Any, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        if trainer.current_epoch == EPOCH and (trainer.is_last_batch if last else batch_idx == BATCH):
            trap.spring()
        original(self, trainer, module, outputs, batch, batch_idx)

    Throughput.on_train_batch_end = on_train_batch_end  # type: ignore[method-assign]


def _after_last_step(trap: Trap) -> None:
    _after_step(trap, last=True)


def _in_checkpoint(trap: Trap) -> None:
    """Half of a checkpoint is written, one in the middle of the training."""
    original, saved = torch.save, [0]

    def save(contents: Any, file: Any, *rest: Any, **options: Any) -> None:
        buffer = io.BytesIO()
        original(contents, buffer, *rest, **options)
        data = buffer.getvalue()
        file.write(data[: len(data) // 2])
        file.flush()
        saved[0] += trap.armed
        if saved[0] == 3:
            trap.spring()
        file.write(data[len(data) // 2 :])

    torch.save = save  # type: ignore[assignment]


def _in_validation(trap: Trap) -> None:
    original = Classifier.validation_step

    def validation_step(self: Classifier, batch: Any, batch_idx: int) -> None:
        original(self, batch, batch_idx)
        if (self.current_epoch, batch_idx) == (EPOCH, 0):
            trap.spring()

    Classifier.validation_step = validation_step  # type: ignore[method-assign]


def _between(trap: Trap) -> None:
    """Between two stages; in a run of one, and in the second, between training and test."""
    if trap.armed:
        original = stages._train

        def train(*arguments: Any) -> None:
            original(*arguments)
            trap.spring()

        stages._train = train  # type: ignore[assignment]
        test = fit._test

        def test_single(trainer: Any, module: Any, data: Any, *rest: Any) -> None:
            if "stage1" not in str(trainer.default_root_dir):
                trap.spring()
            test(trainer, module, data, *rest)

        fit._test = test_single  # type: ignore[assignment]
    else:
        _before(fit, "_test", trap)


def _in_test(trap: Trap) -> None:
    _before(Classifier, "test_step", trap)


POINTS: dict[str, Callable[[Trap], None]] = {
    "start": _at_start,
    "mid-batch": _in_batch,
    "end of step": _after_step,
    "end of last step": _after_last_step,
    "checkpoint": _in_checkpoint,
    "validation": _in_validation,
    "between": _between,
    "test": _in_test,
}


def _before(place: Any, name: str, trap: Trap) -> None:
    original = getattr(place, name)

    def wrapped(*arguments: Any, **options: Any) -> Any:
        trap.spring()
        return original(*arguments, **options)

    setattr(place, name, wrapped)


def _send_to_group(signum: int) -> None:
    """From another process, outside the group: loading processes obey the parent, and tell it by who sends."""
    command = f"kill -{int(signum)} -{os.getpgid(0)}"
    sender = os.posix_spawn("/bin/sh", ["sh", "-c", command], os.environ, setpgroup=0)
    os.waitpid(sender, 0)
    if signum == signal.SIGKILL:
        time.sleep(5)  # never reached to the end
