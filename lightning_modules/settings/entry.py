"""A name with its options and what builds it. Free of torch."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from gcp.options import Options


@dataclass(frozen=True)
class Entry:
    """A named optimizer, schedule or logger: its options, what builds it ("module:attribute") and a line of help."""

    name: str
    options: type[Options]
    build: str | Callable[..., Any]
    summary: str
