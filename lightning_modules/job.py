"""One job: a run directory whose summary says how it ended, whatever happened. Free of torch."""

from __future__ import annotations

import signal
import sys
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from gcp.errors import GCPError
from lightning_modules.distributed.ranks import is_main_process
from lightning_modules.summary import Summary

TRACEBACK = "error.txt"


class InterruptedRunError(GCPError):
    """A person or the scheduler stopped the run.

    Attributes:
        exit_code: 130 after Ctrl-C, 143 after SIGTERM, as shells have it.
    """

    def __init__(self, message: str, exit_code: int) -> None:
        super().__init__(message)
        self.exit_code = exit_code


@contextmanager
def job(directory: Path, **facts: Any) -> Iterator[Summary]:
    """Write the summary at the start, and at the end ``ok`` or ``failed`` with the reason; close what stays open.

    Args:
        directory: the run directory.
        facts: what is known at the start: mode, method, backbone, dataset, seed.
    """
    summary = Summary(directory, write=is_main_process(), **facts)
    on_interrupt = signal.getsignal(signal.SIGINT)
    exit_code = 1
    try:
        yield summary
        summary.ok()
        exit_code = 0
    except BaseException as error:
        summary.failed(error)
        if isinstance(error, Exception) and not isinstance(error, GCPError):  # no sentence: the place says more
            (directory / TRACEBACK).write_text(traceback.format_exc())
        raise
    finally:
        signal.signal(signal.SIGINT, on_interrupt)  # Lightning leaves Ctrl-C ignored after an interruption
        if "wandb" in sys.modules:
            from lightning_modules.loggers.wandb import close

            close(exit_code)
