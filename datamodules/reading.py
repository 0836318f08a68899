"""Which image each loading process is reading, so that of one that died it can be said. Free of torch."""

from __future__ import annotations

import os
import re
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager
from ctypes import Structure, c_char, c_long
from multiprocessing.sharedctypes import RawArray
from pathlib import Path
from typing import Any

from gcp.errors import DataError


class _Note(Structure):
    """The number of a process and the file it is reading; empty: none."""

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


_BOARDS: deque[Board] = deque(maxlen=16)  # the latest; a loader may be gone before its error arrives
_note: Any = None  # of this process; none: it is no loading process


@contextmanager
def noted(path: Path) -> Iterator[None]:
    """Note, for the time of the block, that ``path`` is being read."""
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

    torch raises it wherever the main process is at that moment, so that this belongs around a whole run. A process that
    was asked to end (SIGTERM) stays torch's own error: that is an interruption.
    """
    try:
        yield
    except RuntimeError as error:
        text = str(error)
        if isinstance(error, DataError) or "DataLoader worker" not in text or "Terminated" in text:
            raise
        dead = {
            int(number) for numbers in re.findall(r"pid(?:\(s\))? ([\d, ]+)", text) for number in numbers.split(",")
        }
        files = [os.fsdecode(note.path) for board in _BOARDS for note in board.notes if note.process in dead]
        named = " and ".join(file for file in files if file) or "no image"
        how = text.rpartition("killed by signal: ")[2].split(".")[0] if "killed by signal" in text else "unexpectedly"
        raise DataError(
            f"a loading process ended ({how}) while it was reading {named}; replace the image if that happens again, "
            "or take fewer data.num_workers if memory was short"
        ) from None
