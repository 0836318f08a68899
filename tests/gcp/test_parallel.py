"""Work dealt out to threads: every item once, and the first error."""

from __future__ import annotations

import threading
from collections.abc import Iterator

import pytest
import torch

from gcp.spectral.parallel import deal


@pytest.fixture(params=[1, 2, 3])
def threads(request: pytest.FixtureRequest) -> Iterator[int]:
    before = torch.get_num_threads()
    torch.set_num_threads(request.param)
    yield request.param
    torch.set_num_threads(before)


@pytest.mark.parametrize(("items", "run"), [(0, 1), (1, 1), (7, 1), (7, 3), (7, 7), (7, 100)])
def test_every_item_once(threads: int, items: int, run: int) -> None:
    seen: list[int] = []
    deal(lambda start, stop: seen.extend(range(start, stop)), items, run)
    assert sorted(seen) == list(range(items))
    assert torch.get_num_threads() == threads


def test_each_thread_has_one_of_torch(threads: int) -> None:
    """All threads meet at a barrier, so that each of them takes one item; alone, the caller keeps what it has."""
    barrier = threading.Barrier(threads, timeout=30)
    numbers: list[int] = []

    def function(start: int, stop: int) -> None:
        barrier.wait()
        numbers.append(torch.get_num_threads())

    deal(function, threads, 1)
    assert numbers == [1] * threads


@pytest.mark.usefixtures("threads")
def test_the_first_error_is_raised() -> None:
    def function(start: int, stop: int) -> None:
        for item in range(start, stop):
            if item % 2:
                raise ValueError(f"item {item}")

    with pytest.raises(ValueError, match="item 1"):
        deal(function, 8, 1)
