"""The time of a pass, split into decomposition, products, elementwise work and what is left, the calls of Python."""

from __future__ import annotations

import statistics
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch

from benchmarks.dispatched import Dispatched
from benchmarks.measure import Step, synchronise
from gcp.spectral import lapack

PARTS = ("decomposition", "products", "elementwise")
PRODUCTS = ("mm", "bmm", "matmul", "linalg_matmul", "addmm", "baddbmm", "mv", "dot")


class Stopwatch(Dispatched):  # type: ignore[no-untyped-call]  # torch leaves it untyped
    """Seconds in operators, of each part; a decomposition is one call, whatever its threads do."""

    def __init__(self, device: torch.device) -> None:
        super().__init__()
        self.device = device
        self.seconds = dict.fromkeys(PARTS, 0.0)

    def call(self, name: str, func: Any, args: Any, kwargs: Any) -> Any:
        """The operator's result, after its part got its time."""
        return self.timed("products" if name in PRODUCTS else "elementwise", func, args, kwargs)

    def timed(self, part: str, func: Any, args: Any, kwargs: Any) -> Any:
        """``func(*args)``, whose time is this part's."""
        synchronise(self.device)
        start = time.perf_counter()
        result = func(*args, **kwargs)
        synchronise(self.device)
        self.seconds[part] += time.perf_counter() - start
        return result

    @contextmanager
    def watching(self) -> Iterator[None]:
        """Operators, and decompositions as a whole."""
        spread = lapack._spread

        def timed(*args: Any) -> Any:
            with torch.utils._python_dispatch._disable_current_modes():
                return self.timed("decomposition", spread, args, {})

        lapack._spread = timed  # type: ignore[assignment]  # of the same arguments
        try:
            with self:
                yield
        finally:
            lapack._spread = spread


def parts(step: Step, device: torch.device, repeats: int) -> dict[str, float]:
    """Median seconds of `PARTS` in ``step``."""
    taken: dict[str, list[float]] = {part: [] for part in PARTS}
    for _ in range(repeats):
        watch = Stopwatch(device)
        with watch.watching():
            step()
        for part, seconds in watch.seconds.items():
            taken[part].append(seconds)
    return {part: statistics.median(seconds) for part, seconds in taken.items()}
