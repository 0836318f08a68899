"""Deal the matrices of a batch out to the CPU's cores.

LAPACK takes one matrix after the other, and threads inside one small matrix cost more than they bring. Each thread
takes the next few matrices whenever it is done with the last.

Seen with torch 2.15 and MKL 2024.2 on two cores of an AMD EPYC, 8 matrices, float64, milliseconds; each right after a
product of torch's, as it is in a network:

    rows                                    49      169     196     256
    one thread                              1.2     21      24      53
    two threads inside a matrix             1.3     16      21      39
    dealt out to two threads of a pool      1.9     15      20      33
    dealt out to torch's own two            1.2     12      14      32

On an Intel Xeon one thread took 0.13, 1.5, 2.1 and 8 ms a matrix. LAPACK's evr driver (scipy) is not faster than the
evd that torch uses.
"""

from __future__ import annotations

from collections.abc import Callable
from itertools import count

import torch

from gcp.spectral.team import on_threads


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
