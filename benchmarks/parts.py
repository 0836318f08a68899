"""The time of a pass, split into decomposition, products, elementwise work and what is left, the calls.

An operator's time is what it takes beyond a call on one number; views are calls alone. Also the bytes that the
elementwise work reads and writes, which its time should grow as.
"""

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
DECOMPOSITIONS = ("_linalg_eigh", "_linalg_svd")  # where it is no function of ours that is timed: on a GPU
PRODUCTS = ("mm", "bmm", "matmul", "linalg_matmul", "addmm", "baddbmm", "mv", "dot")


class Stopwatch(Dispatched):  # type: ignore[no-untyped-call]  # torch leaves it untyped
    """Seconds in operators, of each part; a decomposition is one call, whatever its threads do.

    Args:
        device: where the operators run.
        call: seconds of a call that does next to nothing, which are no operator's.

    Attributes:
        seconds: of each of `PARTS`.
        moved: bytes read and written by elementwise operators; views move none.
    """

    def __init__(self, device: torch.device, call: float = 0.0) -> None:
        super().__init__()
        self.device = device
        self.cost = call
        self.seconds = dict.fromkeys(PARTS, 0.0)
        self.moved = 0

    def call(self, name: str, func: Any, args: Any, kwargs: Any) -> Any:
        """The operator's result, after its part got its time."""
        if name in PRODUCTS:
            return self.timed("products", func, args, kwargs, self.cost)
        if name in DECOMPOSITIONS:
            return self.timed("decomposition", func, args, kwargs)
        before = self.seconds["elementwise"]
        result = self.timed("elementwise", func, args, kwargs, self.cost)
        moved = _moved(func, [*args, *kwargs.values()], result)
        if not moved:
            self.seconds["elementwise"] = before
        self.moved += moved
        return result

    def timed(self, part: str, func: Any, args: Any, kwargs: Any, less: float = 0.0) -> Any:
        """``func(*args)``, whose time but for ``less`` is this part's."""
        synchronise(self.device)
        start = time.perf_counter()
        result = func(*args, **kwargs)
        synchronise(self.device)
        self.seconds[part] += max(0.0, time.perf_counter() - start - less)
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
    """Median seconds of `PARTS` in ``step``, and ``moved_bytes``, those of its elementwise work."""
    taken: dict[str, list[float]] = {part: [] for part in PARTS}
    moved, call = 0, _call(device)
    for _ in range(repeats):
        watch = Stopwatch(device, call)
        with watch.watching():
            step()
        for part, seconds in watch.seconds.items():
            taken[part].append(seconds)
        moved = watch.moved
    return {part: statistics.median(seconds) for part, seconds in taken.items()} | {"moved_bytes": moved}


def _call(device: torch.device, repeats: int = 100) -> float:
    """Seconds of a sum of two numbers under a `Stopwatch`, median."""
    one, taken = torch.ones(1, device=device), []
    for _ in range(repeats):
        with Stopwatch(device) as watch:
            one + one
        taken.append(watch.seconds["elementwise"])
    seconds: float = statistics.median(taken)
    return seconds


def _moved(func: Any, given: list[Any], result: Any) -> int:
    """Bytes of the tensors an operator is given, each storage's once, and of those it gives; 0 for a view."""
    flat = torch.utils._pytree.tree_leaves
    before, after = ([each for each in flat(one) if isinstance(each, torch.Tensor)] for one in (given, result))
    read = {each.untyped_storage().data_ptr(): each.nbytes for each in before}
    new = [each for each in after if each.untyped_storage().data_ptr() not in read]
    if not new and not func._schema.is_mutable:
        return 0
    return sum(read.values()) + sum(each.nbytes for each in new or after)
