"""Run a function on several threads at once, each with one of torch's threads.

An OpenMP runtime keeps its threads spinning for milliseconds after each of torch's parallel operations, so any other
thread has to share a core with them. Hence the function runs on those very threads: ``GOMP_parallel`` is what GCC
compiles ``#pragma omp parallel`` to, LLVM's runtime has it too, and a Python function is as good as a compiled one. A
runtime without it gets a pool of threads beside its own.
"""

from __future__ import annotations

import ctypes
import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor, wait
from functools import cache
from threading import Barrier
from typing import Any

import torch

Work = Callable[[], None]
Task = ctypes.CFUNCTYPE(None, ctypes.c_void_p)


def on_threads(work: Work, threads: int) -> None:
    """Call ``work`` on ``threads`` threads, at most torch's number, and return when all calls have.

    The runtime may have fewer threads to give. No call has grad mode on, and inference mode is the caller's.

    Raises:
        What the first call to fail raised, when all have ended.
    """
    inference = torch.is_inference_mode_enabled()
    failed: list[BaseException] = []

    def guarded(_: object = None) -> None:
        # An exception, Ctrl-C's too, cannot cross the runtime's C code.
        try:
            with torch.inference_mode(inference), torch.no_grad():  # both belong to a thread
                work()
        except BaseException as error:
            failed.append(error)

    region = _openmp_region()
    if region is None:
        pool = _pool(torch.get_num_threads(), os.getpid())
        wait([pool.submit(guarded) for _ in range(threads)])
    else:
        region(Task(guarded), None, threads, 0)
    if failed:
        raise failed[0]


@cache
def _openmp_region() -> Callable[[Any, None, int, int], None] | None:
    """GOMP_parallel(function, its argument, threads, flags) of the runtime torch is linked to, where it has one."""
    try:
        region = ctypes.CDLL(torch._C.__file__).GOMP_parallel  # the library's own dependencies are searched too
    except (OSError, AttributeError):
        return None
    region.argtypes = [Task, ctypes.c_void_p, ctypes.c_uint, ctypes.c_uint]
    region.restype = None
    return region


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
