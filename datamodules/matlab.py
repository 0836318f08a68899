"""Lists in MATLAB's format."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from scipy.io import loadmat
from scipy.io.matlab import MatReadError

from gcp.errors import DataError


def load(file: Path) -> dict[str, Any]:
    """The variables of a ``.mat`` file, scalars as such. Raises DataError if it cannot be read."""
    try:
        contents: dict[str, Any] = loadmat(file, squeeze_me=True, chars_as_strings=True)
    except (OSError, ValueError, TypeError, NotImplementedError, MemoryError, MatReadError) as error:
        raise DataError(f"the list {file} cannot be read ({error}); restore it from the archive") from None
    return contents
