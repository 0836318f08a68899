"""Parameters of which a few stand for all in the default run, and the rest is slow."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from typing import Any

import pytest


def slow_unless(fast: Collection[Any], values: Iterable[Any]) -> list[Any]:
    """``values`` for ``pytest.mark.parametrize``, slow where they are not in ``fast``; tuples are several arguments."""
    each = [(value, value if isinstance(value, tuple) else (value,)) for value in values]
    return [pytest.param(*args, marks=[] if value in fast else pytest.mark.slow) for value, args in each]
