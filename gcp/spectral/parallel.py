"""Deal the matrices of a batch out to the CPU's cores.

LAPACK takes one matrix after the other, and threads inside one small matrix cost more than they bring. Each thread of
a pool of its own takes the next few matrices whenever it is done with the last. Equal shares would be simpler, but
after each of torch's own parallel operations an OpenMP thread spins for milliseconds, waiting for the next one, on a
core that a thread of the pool then has to share.

Seen with torch 2.15 and MKL 2024.2 on two cores of an AMD EPYC, 8 matrices, float64, milliseconds:

    rows                            49      169     196     256
    one thread                      1.3     17      23      51
    two threads inside a matrix     1.6     15      18      40
    dealt out to two threads        1.4     9       12      26-31

After an operation that leaves a thread spinning, these 12 ms at 196 rows are 20; ``GOMP_SPINCOUNT=5000`` in the
environment ends the spinning early, and made a layer's forward and backward 10 to 20 % faster there. On an Intel Xeon
one thread took 0.13, 1.5, 2.1 and 8 ms a matrix. LAPACK's evr driver (scipy) is not faster than the evd that torch
uses.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor, wait
from functools import cache
from itertools import count
from threading import Barrier

import torch


def deal(function: Callable[[int, int], None], items: int, run: int) -> None:
    """``function(start, stop)`` for runs of consecutive items until all ``items`` are covered, on torch's threads.

    In the calling thread, and all items at once, where torch has one thread or there is one run only.

    Args:
        function: called from several threads at a time, in each of which torch has one thread.
        items: their number.
        run: how many to take at a time: enough that handing the interpreter's lock to and fro is worth it.

    Raises:
        What ``function`` raises for the first item that fails.
    """
    threads = min(torch.get_num_threads(), -(-items // run))
    if threads <= 1:
        function(0, items)
        return
    inference = torch.is_inference_mode_enabled()  # like grad mode, it belongs to a thread
    starts = count(step=run)
    failed: dict[int, Exception] = {}

    def work() -> None:
        with torch.inference_mode(inference), torch.no_grad():
            while (start := next(starts)) < items:
                try:
                    function(start, min(start + run, items))
                except Exception as error:
                    failed[start] = error
                    return

    pool = _pool(torch.get_num_threads(), os.getpid())
    wait([pool.submit(work) for _ in range(threads)])
    if failed:
        raise failed[min(failed)]


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
