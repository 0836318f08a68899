"""Lists in MATLAB's format."""

from __future__ import annotations

from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from pathlib import Path
from typing import Any

from scipy.io import loadmat

from gcp.errors import DataError, first_line


def load(file: Path) -> dict[str, Any]:
    """The variables of a ``.mat`` file, scalars as such. Raises DataError if it cannot be read.

    It is read in a process of its own, because a changed byte can end that (scipy 1.17).
    """
    try:
        if file.read_bytes()[:512].lstrip().startswith(b"<"):
            raise DataError(f"the list {file} is a web page, not a MATLAB file; delete it and fetch the file itself")
        with ProcessPoolExecutor(1) as pool:
            return pool.submit(_read, file).result()
    except DataError:
        raise
    except BrokenProcessPool:
        raise _damaged(file, "it ended the process that read it") from None
    except Exception as error:  # damaged bytes lead the reader to errors of every kind
        raise _damaged(file, first_line(error)) from None


def _read(file: Path) -> dict[str, Any]:
    contents: dict[str, Any] = loadmat(file, squeeze_me=True, chars_as_strings=True)
    return contents


def _damaged(file: Path, reason: str) -> DataError:
    return DataError(f"the list {file} cannot be read ({reason}); restore it from the archive")
