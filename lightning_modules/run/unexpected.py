"""A sentence for an error that nobody foresaw: what it says, where it happened. Free of torch."""

from __future__ import annotations

import re
import sysconfig
import traceback
from pathlib import Path

from gcp.errors import GCPError, first_line

_MEMORY = re.compile(
    r"can't allocate memory|not enough memory|out of memory|calculation overflowed|negative dimension|"
    r"invalid .*size|array is too big|Trying to create tensor with",
    re.IGNORECASE,
)
_BYTES = re.compile(r"allocate (\d+) bytes")
_PACKAGES = tuple(sysconfig.get_path(name) for name in ("purelib", "platlib", "stdlib"))


class UnexpectedError(GCPError):
    """An error that nobody foresaw, in one sentence; its cause has the rest."""


def explained(error: BaseException) -> str | None:
    """The sentence for an error whose reason is plain: too little memory, or what Lightning refuses; else None."""
    first = first_line(error)
    if isinstance(error, MemoryError) or _MEMORY.search(first):
        return _memory(first)
    return first if type(error).__name__ == "MisconfigurationException" else None


def described(error: BaseException) -> str:
    """One line: the error's own first line, its type and the innermost place outside installed packages."""
    lines = str(error).strip().split("\n")
    place = _place(error)
    kind = type(error).__name__ + (f" in {place}" if place else "")
    return f"{lines[0]} ({kind})" if lines[0] else kind


def _memory(reason: str) -> str:
    found = _BYTES.search(reason)
    size = f", {int(found.group(1)) / 1e9:,.1f} GB in one piece" if found else ""
    return (
        f"there is not enough memory for these sizes{size}; lower data.batch_size, data.image_size or the widths "
        "(backbone.width, backbone.hidden, method.reduced_channels)"
    )


def _place(error: BaseException) -> str | None:
    if isinstance(error, SyntaxError):
        return f"{error.filename}:{error.lineno}"
    own = [frame for frame in traceback.extract_tb(error.__traceback__) if not frame.filename.startswith(_PACKAGES)]
    own = [frame for frame in own if not frame.filename.startswith("<")]
    return f"{Path(own[-1].filename).name}:{own[-1].lineno}" if own else None
