"""One job: a run directory whose summary says how it ended, whatever happened. Free of torch."""

from __future__ import annotations

import sys
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from gcp.errors import GCPError
from lightning_modules.checkpoint_names import to_resume
from lightning_modules.distributed.ranks import is_main_process
from lightning_modules.interruption import SIGNALS, Interrupted
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
    """Write the summary at the start, and at the end how it ended; close what stays open.

    Args:
        directory: the run directory.
        facts: what is known at the start: mode, method, backbone, dataset, seed.

    Raises:
        InterruptedRunError: Ctrl-C or SIGTERM, with a sentence that says how to go on.
    """
    summary = Summary(directory, write=is_main_process(), **facts)
    exit_code = 1
    try:
        with SIGNALS.heard():
            yield summary
            summary.ok()
        exit_code = 0
    except Interrupted as stop:
        sentence = f"{stop}{_how_to_go_on(directory, facts['mode'])}"
        summary.interrupted(sentence)
        raise InterruptedRunError(sentence, 128 + stop.signum) from None
    except BaseException as error:
        summary.failed(error)
        if isinstance(error, Exception) and not isinstance(error, GCPError):  # no sentence: the place says more
            (directory / TRACEBACK).write_text(traceback.format_exc())
        raise
    finally:
        if "wandb" in sys.modules:
            from lightning_modules.loggers.wandb import close

            close(exit_code)


def _how_to_go_on(directory: Path, mode: str) -> str:
    if mode != "fit":
        return "; nothing is lost: start it again with the same command"
    if not to_resume(directory):
        return ", before there was a checkpoint; start again with the same command"
    return f"; go on with: python run.py ckpt_path=last hydra.run.dir={directory}"
