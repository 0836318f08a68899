"""Signals to a whole group of processes: those that load images leave them to the one they load for."""

from __future__ import annotations

import os
import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager

ANNOUNCING = ("SIGUSR1", "SIGUSR2")
# What Ctrl-C, Slurm and other supervisors send to every process at once; the last two announce the end of the time.
TO_ALL = {signal.SIGTERM, signal.SIGINT, *(getattr(signal, each) for each in ANNOUNCING if hasattr(signal, each))}


@contextmanager
def shielded() -> Iterator[None]:
    """Processes started in the block do not receive `TO_ALL`, from their first moment on; see `obey_parent`."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, TO_ALL)
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def obey_parent() -> None:
    """In a loading process: end on the SIGTERM of the parent, which may still need the images, and on no other."""
    if sys.platform == "darwin":  # has no sigwaitinfo
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, TO_ALL)
    else:
        threading.Thread(target=_wait_for_parent, daemon=True).start()


def _wait_for_parent() -> None:
    if sys.platform != "darwin":
        while True:
            received = signal.sigwaitinfo(TO_ALL)
            if received.si_signo == signal.SIGTERM and received.si_pid == os.getppid():
                os._exit(0)
