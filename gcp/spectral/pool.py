"""A pool of threads that share work out among themselves, each with one of torch's threads.

The alternative, running on the threads of torch's own OpenMP runtime (through ``GOMP_parallel``), was measured beside
it with threads that sleep soon (``GOMP_SPINCOUNT=1000``, as run.py sets it): forward and backward of pade and lyapunov,
256 channels, 7x7 to 28x28, batches of 8 and 32, in turns, on two cores of an AMD EPYC with torch 2.14. The pool took
0.92 to 1.07 of its time, 0.97 in the median.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor, wait
from functools import cache
from itertools import count
from threading import Barrier

import torch


def in_parallel(function: Callable[[int, int], None], items: int, run: int) -> None:
    """``function(start, stop)`` for runs of consecutive items until all ``items`` are covered, by as many threads.

    In the calling thread, and all items at once, where torch has one thread or there is one run only.

    Args:
        function: called from several threads at a time, in each of which torch has one thread.
        items: their number.
        run: how many to take at a time: enough that handing the interpreter's lock to and fro is worth it.

    Raises:
        What ``function`` raises for the first item that fails.
    """
    threads = threads_for(items, run)
    if threads == 1:
        function(0, items)
        return
    starts = count(step=run)
    failed: dict[int, Exception] = {}

    def work() -> None:
        while (start := next(starts)) < items:
            try:
                function(start, min(start + run, items))
            except Exception as error:
                failed[start] = error
                return

    on_threads(work, threads)
    if failed:
        raise failed[min(failed)]


def threads_for(items: int, run: int) -> int:
    """On how many threads `in_parallel` runs.

    >>> threads_for(3, run=3)
    1
    """
    return max(1, min(torch.get_num_threads(), -(-items // run)))


def on_threads(work: Callable[[], None], threads: int) -> None:
    """Call ``work`` on ``threads`` threads, at most torch's number, and return when all calls have.

    No call has grad mode on, and inference mode is the caller's.

    Raises:
        What the first call to fail raised, when all have ended.
    """
    inference = torch.is_inference_mode_enabled()

    def in_mode() -> None:
        with torch.inference_mode(inference), torch.no_grad():  # both belong to a thread
            work()

    pool = _pool(torch.get_num_threads(), os.getpid())
    calls = [pool.submit(in_mode) for _ in range(threads)]
    wait(calls)
    for call in calls:
        call.result()


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
