"""Processes that are of no use without the one that started them. Free of torch."""

from __future__ import annotations

import os
import signal
import threading
import time

SWEEP = "GCP_SWEEP"  # variable of the environment: number of the process that runs a sweep
NAME = "end-with-parent"
LOOK = 0.2  # seconds between two looks at the parent


def end_with_sweep() -> None:
    """Let this process end with the one that runs the sweep, if that is another one, its parent."""
    parent = int(os.environ.get(SWEEP, os.getpid()))
    if parent != os.getpid() and all(thread.name != NAME for thread in threading.enumerate()):
        end_with(parent)


def end_with(parent: int) -> None:
    """End this process, as SIGKILL does, once process ``parent`` is not its parent any more.

    Nothing is lost by that: a run goes on from its checkpoints. The system's own signal for it (Linux) follows the
    thread that started this process, which may end before its process does.
    """
    threading.Thread(target=_watch, args=(parent,), daemon=True, name=NAME).start()


def _watch(parent: int) -> None:
    while os.getppid() == parent:
        time.sleep(LOOK)
    os.kill(os.getpid(), getattr(signal, "SIGKILL", signal.SIGTERM))
