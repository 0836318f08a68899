"""The parts of a layer's time: every operator is in one of them, and a decomposition is one."""

from __future__ import annotations

import torch

from benchmarks.parts import Stopwatch, parts
from benchmarks.small_overheads import VIEWS
from gcp.pooling.factory import create_pooling
from gcp.spectral import lapack


def test_operators_are_counted_where_they_belong(monkeypatch):
    ticks = iter(range(1000))
    monkeypatch.setattr("benchmarks.parts.time.perf_counter", lambda: next(ticks))  # each operator takes 1
    layer = create_pooling("pade", 6)
    x = torch.randn(2, 6, 2, 2, generator=torch.Generator().manual_seed(0), requires_grad=True)
    watch, spread = Stopwatch(torch.device("cpu")), lapack._spread
    with watch.watching():
        torch.autograd.grad(layer(x).sum(), x)
    assert lapack._spread is spread
    assert watch.seconds["decomposition"] == 1
    assert watch.seconds["products"] == 7  # Gram, U, Z; sym(G) U, A, U (L o A), T V^T
    assert watch.seconds["elementwise"] == sum(n for name, n in watch.counted.items() if name not in VIEWS) - 7


def test_parts_of_a_step():
    found = parts(lambda: torch.ones(3) @ torch.ones(3), torch.device("cpu"), repeats=3)
    assert found["decomposition"] == 0
    assert found["products"] > 0


def test_bytes_moved_by_elementwise_work():
    def step():
        x = torch.ones(3, 4)  # 48 bytes written
        y = x.mT  # a view moves nothing
        y = y + x.mT  # 48 read, once, and 48 written
        y.mul_(2)  # 48 read and 48 written
        return y @ x  # a product is none of it

    assert parts(step, torch.device("cpu"), repeats=1)["moved_bytes"] == 48 + 96 + 96
