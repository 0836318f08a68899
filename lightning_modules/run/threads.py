"""Threads of torch on the CPU: how many a job uses, and how soon an idle one gives up its core."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager

SPINS = "1000"
"""Turns that a waiting thread of GCC's OpenMP runtime spins before it sleeps; 300,000 unless told.

While a thread spins for another one that has lost its core to a busy neighbour, nobody works: benchmarks/busy.md.
"""

CHOSEN_BY_USER = ("GOMP_SPINCOUNT", "OMP_WAIT_POLICY")


def spin_briefly() -> None:
    """Let idle OpenMP threads of this process and its children sleep soon, unless the environment says otherwise.

    The runtime reads the environment once, when torch is loaded: call this before.
    """
    if not any(name in os.environ for name in CHOSEN_BY_USER):
        os.environ["GOMP_SPINCOUNT"] = SPINS


@contextmanager
def torch_threads(count: int | None) -> Iterator[None]:
    """Let torch compute with ``count`` threads inside the block; None: as it would."""
    if count is None:
        yield
        return
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(count)
    try:
        yield
    finally:
        torch.set_num_threads(before)
