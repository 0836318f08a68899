"""One job: a run directory whose summary says how it ended, whatever happened. Free of torch."""

from __future__ import annotations

import signal
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext, suppress
from pathlib import Path
from typing import Any

from gcp.errors import GCPError
from lightning_modules.run.find_checkpoint import to_resume
from lightning_modules.run.interruption import SIGNALS, TOO_EARLY, Interrupted, came_from
from lightning_modules.run.lock import locked
from lightning_modules.run.ranks import is_main_process
from lightning_modules.run.storage import storage_error
from lightning_modules.run.summary import Summary, holds_run
from lightning_modules.run.unexpected import UnexpectedError, described, explained

TRACEBACK = "error.txt"
AT_END: list[Callable[[int], None]] = []
"""What a job leaves open beyond its own files, to be closed with its exit code: a logger's connection."""


class InterruptedRunError(GCPError):
    """A person or the scheduler stopped the run.

    Attributes:
        exit_code: 130 after Ctrl-C, 143 after SIGTERM, as shells have it.
    """

    def __init__(self, message: str, exit_code: int) -> None:
        super().__init__(message)
        self.exit_code = exit_code

    @property
    def signum(self) -> int:
        """The signal that stopped it."""
        return self.exit_code - 128


def as_interruption(error: BaseException | None) -> InterruptedRunError | None:
    """The interruption that ``error`` is, or that it came from on the way out; None: it is something else.

    One outside of a run, which tells its own, is one before it began.
    """
    stop = came_from(error, InterruptedRunError, KeyboardInterrupt, Interrupted)
    if stop is None or isinstance(stop, InterruptedRunError):
        return stop
    return InterruptedRunError(TOO_EARLY, 128 + getattr(stop, "signum", signal.SIGINT))


@contextmanager
def job(directory: Path, kept: bool = False, **known: Any) -> Iterator[Summary]:
    """Keep other processes out of the run directory; write into it how the job ended; close what loggers leave open.

    A job that is refused before its work begins (see `Summary.begin`) writes nothing.

    Args:
        directory: the run directory.
        kept: whether a refused job is written down all the same: those of sweeps are.
        known: what is known at the start: mode, method, backbone, dataset, seed.

    Raises:
        InterruptedRunError: Ctrl-C or SIGTERM, with a sentence that says how to go on.
        InUseError: another process is in the directory.
        StorageError: something could not be written or read.
        UnexpectedError: anything else that is no error of ours.
    """
    exit_code = 1
    try:
        with locked(directory) if is_main_process() else nullcontext():
            summary = Summary(directory, write=is_main_process(), **known)
            new = not holds_run(directory)
            try:
                with SIGNALS.heard():
                    if kept:
                        summary.begin()
                    yield summary
                    summary.ok()
                exit_code = 0
            except BaseException as error:
                stop = came_from(error, Interrupted)
                if stop is None:
                    refused = isinstance(error, (GCPError, OSError))
                    _note(summary, _told(error, directory), written=summary.begun or (new and not refused))
                    raise
                exit_code = 128 + stop.signum
                sentence = f"{stop}{_how_to_go_on(directory, known['mode'])}"
                if summary.begun or new:
                    summary.interrupted(sentence)
                raise InterruptedRunError(sentence, exit_code) from None
    except Exception as error:
        told = _told(error, directory)
        if told is error:
            raise
        raise told from error
    finally:
        while AT_END:
            AT_END.pop()(exit_code)


def _how_to_go_on(directory: Path, mode: str) -> str:
    if mode != "fit":
        return "; nothing is lost: start it again with the same command"
    if not to_resume(directory):
        return ", before there was a checkpoint; start again with the same command"
    return f"; go on with: python run.py ckpt_path=last hydra.run.dir={directory}"


def _told(error: BaseException, directory: Path) -> BaseException:
    """The error as a sentence: of the storage, of too little memory, or with the place nobody thought of."""
    if isinstance(error, GCPError) or not isinstance(error, Exception):
        return error
    unexpected = explained(error) or f"{described(error)}; the trace is in {directory / TRACEBACK}"
    return storage_error(error, directory) or UnexpectedError(unexpected)


def _note(summary: Summary, error: BaseException, written: bool) -> None:
    with suppress(OSError):  # the disk may be what the job failed of
        if written:
            summary.failed(error)
        if isinstance(error, UnexpectedError):  # the place says more
            (summary.path.parent / TRACEBACK).write_text(traceback.format_exc())
