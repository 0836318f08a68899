"""Spread a batch of decompositions over the CPU's cores.

LAPACK takes one matrix after the other; threads inside one small matrix cost more than they bring.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from threading import Barrier

import torch
from torch import Tensor


def map_batch(decompose: Callable[[Tensor], tuple[Tensor, ...]], batch: Tensor) -> tuple[Tensor, ...]:
    """``decompose`` over the leading dimension of ``batch``, each matrix by one thread of a pool.

    Args:
        decompose: a function of a (m, n) tensor that returns tensors.
        batch: (B, m, n).

    Returns:
        the stacked results, as ``decompose(batch)`` would give them.
    """
    threads = torch.get_num_threads()
    if batch.device.type != "cpu" or threads == 1 or len(batch) < 2:
        return tuple(decompose(batch))
    with torch.no_grad():
        results = list(_pool(threads, os.getpid()).map(decompose, batch.unbind()))
    return tuple(torch.stack(parts) for parts in zip(*results, strict=True))


@cache
def _pool(threads: int, process: int) -> ThreadPoolExecutor:
    # One pool per process: threads do not survive a fork.
    barrier = Barrier(threads)
    pool = ThreadPoolExecutor(
        threads, thread_name_prefix="gcp-lapack", initializer=torch.set_num_threads, initargs=(1,)
    )
    for started in [pool.submit(barrier.wait) for _ in range(threads)]:
        started.result()
    torch.set_num_threads(threads)  # the workers' setting is also what later threads of the process start from
    return pool
