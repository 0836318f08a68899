"""Spread a batch over the CPU's cores, a share to each thread.

LAPACK takes one matrix after the other; threads inside one small matrix cost more than they bring (torch's batched
``eigh`` of 196 x 196 matrices on many threads: up to 4x slower than on one). The threads write into tensors allocated
beforehand, so that nothing is stacked afterwards.

Seen with torch 2.15 and MKL 2024.2 on 2 shared cores: one thread takes 0.13, 1.5, 2.1 and 8 ms for ``eigh`` of 49,
169, 196 and 256 rows in float64; LAPACK's evr driver (scipy) is not faster than the evd that torch uses. Centring and
the float64 products with it run in the same thread as the decomposition; the float32 products of all samples are one
batched ``bmm`` outside. A sample's result has the same bits in every batch and position that was tested. On a busy
machine the barrier of torch's own threads costs tens of milliseconds at 7x7, where it waits for a core.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from threading import Barrier

import torch
from torch import Tensor

from gcp.errors import DecompositionError
from gcp.spectral.lapack import not_converged


def map_batch(function: Callable[[Tensor], tuple[Tensor, ...]], batch: Tensor, out: tuple[Tensor, ...]) -> None:
    """``function`` over the leading dimension of ``batch``, its results copied, and cast, into ``out``.

    On a GPU, and with one thread, ``function`` gets the whole batch at once.

    Args:
        function: of a tensor (B', m, n) that returns tensors of B' entries each, whatever B' is.
        batch: (B, m, n).
        out: tensors of B entries, of any dtype.

    Raises:
        DecompositionError: from ``function``, with the sample's position in the batch.
    """
    threads = torch.get_num_threads()
    if batch.device.type != "cpu" or threads == 1 or len(batch) < 2:
        _copy(function(batch), out)
        return

    inference = torch.is_inference_mode_enabled()  # like grad mode, it belongs to a thread

    def share(start: int, stop: int) -> None:
        with torch.inference_mode(inference):
            try:
                _copy(function(batch[start:stop]), tuple(tensor[start:stop] for tensor in out))
            except DecompositionError as error:
                raise not_converged(start + error.samples[0], len(batch)) from None

    # A share each, not a sample at a time: handing the interpreter's lock to and fro costs more than a small matrix.
    bounds = [len(batch) * thread // threads for thread in range(threads + 1)]
    list(_pool(threads, os.getpid()).map(share, bounds[:-1], bounds[1:]))


def _copy(results: tuple[Tensor, ...], out: tuple[Tensor, ...]) -> None:
    with torch.no_grad():
        for result, target in zip(results, out, strict=True):
            target.copy_(result)


@cache
def _pool(threads: int, process: int) -> ThreadPoolExecutor:
    # One pool per process: threads do not survive a fork.
    barrier = Barrier(threads)
    pool = ThreadPoolExecutor(threads, "gcp-lapack", initializer=_one_thread)
    for started in [pool.submit(barrier.wait) for _ in range(threads)]:
        started.result()
    torch.set_num_threads(threads)  # the workers' setting is also what later threads of the process start from
    return pool


def _one_thread() -> None:
    # A thread's first use of torch sets its number to the process's: let that happen before saying one. Without it two
    # workers ran four threads on two cores, and 196 x 196 matrices took twice as long.
    torch.get_num_threads()
    torch.set_num_threads(1)
