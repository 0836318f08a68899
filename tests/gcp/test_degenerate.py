"""Input that breaks spectral layers: every method, path and precision, against the oracle of the method itself."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import torch
from torch import Tensor

from gcp.errors import NonFiniteError, ShapeError
from gcp.pooling.factory import create_pooling
from tests.gcp.helpers import SPECTRAL, forward_backward, grad_out, noise, relative_error, unvech, with_spectrum
from tests.gcp.oracle import oracle, relative_gap

# precision, path, dtype of the input; with float32 the features themselves are decomposed, whatever the path
ROUTES = [
    ("float64", "gram", torch.float64),
    ("float64", "dense", torch.float64),
    ("mixed", "gram", torch.float32),
    ("mixed", "dense", torch.float32),
    ("float32", "auto", torch.float32),
]


def integers(*shape: int, seed: int = 0) -> Tensor:
    """Small integers, exact in every dtype, so that the rank is what it seems."""
    return torch.randint(-3, 4, shape, generator=torch.Generator().manual_seed(seed)).double()


def hadamard(size: int) -> Tensor:
    H = torch.ones(1, 1, dtype=torch.float64)
    while len(H) < size:
        H = torch.cat([torch.cat([H, H], 1), torch.cat([H, -H], 1)])
    return H


def repeated(x: Tensor) -> Tensor:
    return torch.cat([x, x], 1)


CASES = {
    "zero": torch.zeros(1, 6, 2, 3, dtype=torch.float64),
    "constant": torch.full((1, 6, 2, 3), 0.1, dtype=torch.float64),
    "constant channels": noise(1, 6, 1, 1).expand(1, 6, 7, 7),
    "rank one": (integers(6, 1) @ integers(1, 8, seed=5)).reshape(1, 6, 2, 4),
    "rank one, N < C": (integers(6, 1) @ integers(1, 4, seed=5)).reshape(1, 6, 2, 2),
    "two positions": noise(1, 6, 1, 2),
    "one channel": noise(1, 1, 3, 3),
    "repeated channels": repeated(noise(1, 4, 3, 4)),
    "repeated channels, N < C": repeated(noise(1, 4, 2, 2)),
    "dead channel": noise(1, 6, 3, 4) * (torch.arange(6) != 2).double()[:, None, None],
    "identity": hadamard(16)[1:9].reshape(1, 8, 4, 4),
    "identity, N < C": (hadamard(8)[:, 1:4] @ hadamard(4)[1:]).reshape(1, 8, 2, 2),
    **{
        f"gaps {gap:g}": with_spectrum([1 + 2 * gap, 1 + gap, 1.0, 0.5, 0.25 * (1 + gap), 0.25], 12)[0]
        for gap in (1e-3, 1e-6, 1e-9, 1e-12, 1e-14)
    },
    **{f"scale {scale:g}": noise(1, 5, 3, 4) * scale for scale in (1e-12, 1e-6, 1e6, 1e12)},
    **{f"scale {scale:g}, N < C": noise(1, 5, 2, 2) * scale for scale in (1e-12, 1e12)},
}


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize(("precision", "path", "dtype"), ROUTES)
@pytest.mark.parametrize("name", SPECTRAL)
def test_degenerate(name: str, precision: str, path: str, dtype: torch.dtype, case: str) -> None:
    x = CASES[case].to(dtype)
    channels, positions = x.shape[1], x.shape[2] * x.shape[3]
    gradient = grad_out(channels).to(dtype)
    y, grad = forward_backward(create_pooling(name, channels, precision=precision, path=path), x, gradient)
    root, expected = oracle(name, x[0], gradient[0])

    eps = torch.finfo(torch.float32 if precision == "float32" else torch.float64).eps
    # 1e-6 is the issue's; rounding of the decomposition turns a pair of eigenvalues by eps over their relative gap.
    tolerance = max(1e-6, 10 * eps / relative_gap(x[0]))
    assert torch.isfinite(y).all()
    assert torch.isfinite(grad).all()
    found = unvech(y.double(), channels)[0]
    # Values know no gaps, but for the cut of topn; a null eigenvalue's root may be the root of rounding.
    value_tolerance = max(1e-6, eps**0.5, tolerance if name == "topn" else 0)
    assert (found - root).abs().max() <= value_tolerance * root.abs().max()
    scale = expected.abs().max() if expected.any() else torch.tensor(1.0)
    assert (grad[0].double() - expected).abs().max() <= tolerance * scale

    # L(a, b) sqrt(b) <= 1 for every weight at most 1, so |dℓ/dx| <= 2 |sym G|/sqrt(N); the literal quotients may round
    # by a tenth at the smallest gap that is no tie, the trace terms of iterations add at most as much again.
    size = unvech(gradient.double(), channels)[0]
    size = (size + size.diagonal().diag()) / 2
    bound = 2 * size.norm() / positions**0.5
    slack = {"newton": 2, "halley": 2, "original": 1.1, "trunc": 1.1, "topn": 1.1}.get(name, 1 + 1e-5)
    assert grad.double().norm() <= bound * slack


@pytest.mark.parametrize("precision", ["mixed", "float64", "float32"])
@pytest.mark.parametrize("name", SPECTRAL)
def test_empty_batch_and_one_position(name: str, precision: str) -> None:
    layer = create_pooling(name, 4, precision=precision)
    x = torch.zeros(0, 4, 3, 3, requires_grad=True)
    y = layer(x)
    y.sum().backward()
    assert y.shape == (0, 10)
    assert x.grad is not None
    assert x.grad.shape == x.shape
    with pytest.raises(ShapeError, match="1x1"):
        layer(torch.zeros(2, 4, 1, 1))


def run(layer: torch.nn.Module, x: Tensor, gradient: Tensor) -> list[Tensor]:
    return list(forward_backward(layer, x, gradient))


@pytest.fixture
def one_thread() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.mark.parametrize("precision", ["mixed", "float64", "float32"])
@pytest.mark.parametrize("shape", [(4, 5, 2, 2), (5, 24, 4, 4), (5, 16, 6, 6), (3, 64, 7, 7)])
@pytest.mark.parametrize("name", SPECTRAL)
@pytest.mark.usefixtures("one_thread")
def test_neighbours_do_not_matter(name: str, shape: tuple[int, ...], precision: str) -> None:
    """To the last bit, in batches of two and more: other neighbours, other positions in the batch.

    On one thread: of several each takes a share of the batch, and how large that is decides how products are rounded.
    """
    x, gradient = noise(*shape, seed=3).float(), grad_out(shape[1], shape[0]).float()
    layer = create_pooling(name, shape[1], precision=precision)
    together = run(layer, x, gradient)
    order = torch.arange(len(x) - 1, -1, -1)
    for found, expected in zip(run(layer, x[order], gradient[order]), together, strict=True):
        assert torch.equal(found[order], expected)
    for found, expected in zip(run(layer, x[1:3], gradient[1:3]), together, strict=True):
        assert torch.equal(found, expected[1:3])
    for found, expected in zip(run(layer, x[:1], gradient[:1]), together, strict=True):
        assert torch.equal(found, expected[:1])


@pytest.mark.parametrize("bad", [float("nan"), float("inf"), -float("inf")])
@pytest.mark.parametrize("name", SPECTRAL)
def test_one_bad_sample(name: str, bad: float) -> None:
    """An error that names it; or, with nonfinite=zero, zero for it and the same bits for all others."""
    x, gradient = noise(4, 5, 3, 3).float(), grad_out(5, 4).float()
    good = run(create_pooling(name, 5), x, gradient)
    x[2, 1, 0, 2] = bad
    with pytest.raises(NonFiniteError, match="sample 2 of 4") as error:
        create_pooling(name, 5)(x)
    assert error.value.samples == (2,)
    for found, expected in zip(run(create_pooling(name, 5, nonfinite="zero"), x, gradient), good, strict=True):
        expected[2] = 0
        assert torch.equal(found, expected)


def test_constant_offset_is_removed() -> None:
    """Features far from zero: 1e4 times their spread costs four digits of float32 and no more."""
    x = noise(1, 6, 4, 4) + 1e4
    gradient = grad_out(6)
    found = forward_backward(create_pooling("lyapunov", 6, precision="float64"), x, gradient)[1][0]
    assert relative_error(found, oracle("lyapunov", x[0], gradient[0])[1]) < 1e-9
