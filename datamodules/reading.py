"""Which image each loading process is reading, so that of one that died it can be said. Free of torch."""

from __future__ import annotations

import os
import re
import signal
import threading
import time
import traceback
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager
from ctypes import Structure, c_char, c_long
from multiprocessing import active_children
from multiprocessing.sharedctypes import RawArray
from pathlib import Path
from typing import Any

from gcp.errors import DataError


class _Note(Structure):
    """The number of a process and the file it is reading; empty while it reads no file."""

    _fields_ = (("process", c_long), ("path", c_char * 4096))


class Board:
    """A note of each loading process in memory they share with the process they load for.

    Args:
        processes: number of loading processes.
    """

    def __init__(self, processes: int) -> None:
        self.notes: Any = RawArray(_Note, processes)
        _BOARDS.append(self)

    def enter(self, number: int) -> None:
        """Let `noted` in this process, the loading process ``number``, write there."""
        global _note
        _note = self.notes[number]
        _note.process = os.getpid()


SECONDS_TO_DIE = 5.0  # that a process with a core to write may take
_BOARDS: deque[Board] = deque(maxlen=16)  # the latest; a loader may be gone before its error arrives
_note: Any = None  # of this process; None: it is no loading process


@contextmanager
def noted(path: Path | str) -> Iterator[None]:
    """Note, for the time of the block, that ``path``, or what has that name, is being read."""
    if _note is None:
        yield
        return
    _note.path = os.fsencode(path)[-4096:]
    try:
        yield
    finally:
        _note.path = b""


@contextmanager
def dead_processes_named() -> Iterator[None]:
    """Make torch's error for a loading process that died a DataError that names what it was reading.

    torch raises it wherever the main process is at that moment, so that this belongs around a whole run; a connection
    to the process that breaks off first is the same death. A process that was asked to end (SIGTERM) stays torch's own
    error: that is an interruption.
    """
    try:
        yield
    except (RuntimeError, ConnectionError, EOFError) as error:
        with _death_heard_once():
            named = None if isinstance(error, DataError) else _named(error)
            if named is not None:
                traceback.clear_frames(error.__traceback__)  # the loader ends, and torch's watch over its processes
        if named is None:
            raise
        raise named from None


def _named(error: Exception) -> DataError | None:
    """The sentence for an error that a dead loading process is behind; None for any other error."""
    if not isinstance(error, RuntimeError):
        files = _read_by_the_dead()
        return _death("unexpectedly", files) if files else None
    text = str(error)
    if "DataLoader worker" not in text or "Terminated" in text:
        return None
    numbers = re.findall(r"pid(?:\(s\))? ([\d, ]+)", text)
    how = text.rpartition("killed by signal: ")[2].split(".")[0] if "killed by signal" in text else "unexpectedly"
    return _death(how, _read_by({int(number) for group in numbers for number in group.split(",")}))


@contextmanager
def _death_heard_once() -> Iterator[None]:
    """Without torch's handler, which raises its error again for every further process that ends."""
    if not hasattr(signal, "SIGCHLD") or threading.current_thread() is not threading.main_thread():
        yield
        return
    handler = signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    try:
        yield
    finally:
        signal.signal(signal.SIGCHLD, handler)


def _read_by_the_dead() -> list[str]:
    """What processes that are gone have noted; a broken connection is seen before the process has quite ended."""
    until = time.monotonic() + SECONDS_TO_DIE
    while True:
        living = {process.pid for process in active_children()}
        files = _read_by({note.process for board in _BOARDS for note in board.notes} - living)
        if files or time.monotonic() > until:
            return files
        time.sleep(0.05)


def _read_by(processes: set[int]) -> list[str]:
    """What the processes have noted, where they have."""
    files = [os.fsdecode(note.path) for board in _BOARDS for note in board.notes if note.process in processes]
    return [file for file in files if file]


def _death(how: str, files: list[str]) -> DataError:
    return DataError(
        f"a loading process ended ({how}) while it was reading {' and '.join(files) or 'no image'}; replace the image "
        "if that happens again, or take fewer data.num_workers if memory was short"
    )
