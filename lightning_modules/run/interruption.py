"""Ctrl-C and SIGTERM, by one rule for every phase of a run, and what a scheduler announces by. Free of torch.

The first signal ends the run: at once, or, while training holds signals back, at the end of the step. A second Ctrl-C
does not wait for that end. Whatever comes after that is ignored, so that the run can write its checkpoint and its
summary undisturbed. Before and after the run they end the command. In a scheduler's job the signals by which it
announces the end of the time count too; see `lightning_modules.run.scheduler`.
"""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import TypeVar

from lightning_modules.run.scheduler import QUEUED, announcements, queue_again

ErrorT = TypeVar("ErrorT", bound=BaseException)


class Interrupted(BaseException):
    """A person or the scheduler stops the run; no `Exception`, which code on the way might take for a failure.

    Attributes:
        signum: the signal.
        where: what it stopped: "in epoch 3 at step 120"; empty where nothing can be said.
        orderly: whether the state of the training is that after a whole step, fit for a checkpoint.
    """

    def __init__(self, signum: int, where: str = "", orderly: bool = False) -> None:
        super().__init__(f"interrupted {where}".strip())
        self.signum = signum
        self.where = where
        self.orderly = orderly


def came_from(error: BaseException | None, *kinds: type[ErrorT]) -> ErrorT | None:
    """The first error of one of ``kinds`` that ``error`` is, or that it came from on the way out; None: there is none.

    Lightning takes its loops down twice when it is interrupted in the middle of that, and fails the second time.
    """
    while error is not None and not isinstance(error, kinds):
        error = error.__context__
    return error


TOO_EARLY = "interrupted before the run began; start again with the same command"


def obey_at_once() -> None:
    """End this process with the sentence on SIGTERM and Ctrl-C, while the modules of a command are imported.

    An error raised there comes out as a trace, or is lost: in a destructor, say, or in what can do without
    the import.
    """
    for each in ending():
        if signal.getsignal(each) is not signal.SIG_IGN:
            signal.signal(each, _end)


def ending() -> tuple[int, ...]:
    """The signals that end a run."""
    return (signal.SIGTERM, signal.SIGINT, *announcements())


def _end(signum: int, frame: FrameType | None) -> None:
    if not QUEUED:  # or the run has said what there is to say, and the scheduler ends its process
        os.write(2, f"error: {TOO_EARLY}\n".encode())
        queue_again(signum)
    os._exit(128 + signum)


class Signals:
    """What this process has been sent.

    Attributes:
        received: the first signal since they are `heard`; None before.
    """

    def __init__(self) -> None:
        self.received: int | None = None
        self._held = self._always = False
        self._over = False
        self._owner = 0

    @contextmanager
    def heard(self, held: bool = False) -> Iterator[None]:
        """Take the signals that end a run over for the time of the block, in the main thread; not one that is ignored.

        Blocks may lie in each other: the inner one has its own state, and a signal that came before it ends it.

        Args:
            held: hold them back to the end: another process asks for `received`.

        Raises:
            Interrupted: a signal came.
        """
        self.check()
        self._over, self._owner = False, os.getpid()
        self._held = self._always = held
        before = {}
        if threading.current_thread() is threading.main_thread():
            for each in ending():
                if signal.getsignal(each) is not signal.SIG_IGN:
                    before[each] = signal.signal(each, self.note)
        try:
            yield
        finally:
            for each, handler in before.items():
                signal.signal(each, handler)
            self.received, self._held = None, False

    def hold(self) -> None:
        """From here on the caller looks at `received` and stops where it can."""
        self._held = True

    def release(self) -> None:
        """Signals act at once again, one that was held back too. Raises Interrupted."""
        self._held = self._always
        self.check()

    def check(self) -> None:
        """Raise Interrupted if a signal has come and is not held back.

        The handler raises by itself, but in the wrong moment (in a destructor, say) Python ignores what is raised.
        """
        if self.received is not None and not self._held:
            self.stop()

    def stop(self, signum: int | None = None, where: str = "", orderly: bool = False) -> None:
        """Raise Interrupted; no signal does from now on.

        Args:
            signum: for the exit code; None: what was received.
            where: see `Interrupted`.
            orderly: see `Interrupted`.
        """
        self._over = True
        raise Interrupted(signum or self.received or signal.SIGTERM, where, orderly)

    def note(self, signum: int, frame: FrameType | None = None) -> None:
        """The signal handler."""
        if self._over or os.getpid() != self._owner:  # or: a process forked off that has not its own handlers yet
            return
        impatient = self.received is not None and signum == signal.SIGINT
        self.received = self.received or signum
        if impatient or not self._held:
            self.stop()


SIGNALS = Signals()
