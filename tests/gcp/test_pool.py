"""Work shared out to threads: every item once, and the first error."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import torch

from gcp.spectral.pool import in_parallel, on_threads

TASKS = Path("/proc/self/task")


@pytest.fixture(params=[1, 2, 3])
def threads(request: pytest.FixtureRequest) -> Iterator[int]:
    before = torch.get_num_threads()
    torch.set_num_threads(request.param)
    yield request.param
    torch.set_num_threads(before)


def meeting(threads: int, then: Callable[[], None]) -> Callable[[], None]:
    """Work that all threads must take part in to get on."""
    barrier = threading.Barrier(threads, timeout=30)

    def work() -> None:
        barrier.wait()
        then()

    return work


@pytest.mark.parametrize(("items", "run"), [(0, 1), (1, 1), (7, 1), (7, 3), (7, 7), (7, 100)])
def test_every_item_once(threads: int, items: int, run: int) -> None:
    seen: list[int] = []
    in_parallel(lambda start, stop: seen.extend(range(start, stop)), items, run)
    assert sorted(seen) == list(range(items))
    assert torch.get_num_threads() == threads


@pytest.mark.usefixtures("threads")
def test_the_first_error_is_raised() -> None:
    def function(start: int, stop: int) -> None:
        for item in range(start, stop):
            if item % 2:
                raise ValueError(f"item {item}")

    with pytest.raises(ValueError, match="item 1"):
        in_parallel(function, 8, 1)


def test_an_interrupt_is_raised() -> None:
    """Ctrl-C reaches whichever thread runs Python's signal handlers; it must not be lost."""

    def work() -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        on_threads(work, torch.get_num_threads())


def test_modes_are_those_of_the_caller(threads: int) -> None:
    """Gradients are off everywhere, inference mode is the caller's; afterwards each is what it was."""
    seen: list[tuple[bool, bool]] = []
    work = meeting(threads, lambda: seen.append((torch.is_grad_enabled(), torch.is_inference_mode_enabled())))
    on_threads(work, threads)
    assert torch.is_grad_enabled()
    with torch.inference_mode():
        on_threads(work, threads)
    assert seen == [(False, False)] * threads + [(False, True)] * threads


@pytest.mark.skipif(not TASKS.exists(), reason="counts the threads that Linux lists")
def test_no_threads_within_threads(threads: int) -> None:
    """Each thread works alone on its matrix: products large enough to be shared out start no further thread."""
    matrix = torch.randn(300, 300)
    ids: list[int] = []

    def product() -> None:
        torch.linalg.eigh(matrix @ matrix.mT)
        ids.append(threading.get_native_id())

    torch.mm(matrix, matrix)  # the caller's own team, which outlives the product
    on_threads(meeting(threads, lambda: None), threads)
    before = set(os.listdir(TASKS))
    on_threads(meeting(threads, product), threads)
    assert len(set(ids)) == threads
    assert set(os.listdir(TASKS)) == before
