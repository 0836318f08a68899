"""What must hold for any features, tried on many (hypothesis, derandomised)."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from gcp.covariance import spectral_method
from gcp.spectral.loewner import spectrum
from gcp.spectral.maps import SquareRoot
from gcp.spectral.method import as_loewner
from tests.gcp.helpers import (
    SPECTRAL,
    UNCUT,
    covariance,
    forward_backward,
    grad_out,
    noise,
    orthogonal,
    pooling,
    relative_error,
    unvech,
    with_spectrum,
)

few = settings(max_examples=12, derandomize=True, deadline=None, database=None)
seeds = st.integers(0, 1000)


@st.composite
def features(draw: st.DrawFn) -> Tensor:
    """(B, C, H, W), of full or less rank, around zero or not, of any scale."""
    shape = draw(st.tuples(st.integers(1, 3), st.integers(2, 8), st.integers(1, 4), st.integers(2, 4)))
    x = noise(*shape, seed=draw(seeds))
    if draw(st.booleans()):
        x = x.relu()
    return (x + draw(st.sampled_from([0.0, 1.0]))) * 10.0 ** draw(st.integers(-6, 6))


@pytest.mark.parametrize("name", UNCUT)
@few
@given(x=features())
def test_root_squared_is_the_covariance(name: str, x: Tensor) -> None:
    Z = unvech(pooling(name, x.shape[1])(x), x.shape[1])
    P = covariance(x)
    assert (Z @ Z - P).abs().max() <= 1e-12 * P.abs().max()
    assert torch.linalg.eigvalsh(Z).min() >= -1e-12 * Z.abs().max()


def same(found: Tensor, expected: Tensor, tolerance: float) -> bool:
    return bool((found - expected).abs().max() <= tolerance * expected.abs().max().clamp(min=1e-300))


@pytest.mark.parametrize("name", SPECTRAL)
@few
@given(seed=seeds, size=st.sampled_from([(4, 3, 3), (6, 2, 2)]))
def test_orthogonal_change_of_channels(name: str, seed: int, size: tuple[int, int, int]) -> None:
    """f(Q P Q^T) = Q f(P) Q^T, and the gradient turns with it."""
    x, channels = noise(1, *size, seed=seed), size[0]
    Q = orthogonal(channels, seed)
    turned = (Q @ x.flatten(2)).reshape(x.shape)
    layer = pooling(name, channels)
    row, column = torch.triu_indices(channels, channels)

    def loss_gradient(x: Tensor, weight: Tensor) -> tuple[Tensor, Tensor]:
        gradient = weight[row, column] * torch.where(row == column, 1, 2)  # the gradient of <weight, Z>
        return forward_backward(layer, x, gradient[None])

    G = orthogonal(channels, seed + 1)
    G = G + G.T
    y, grad = loss_gradient(x, G)
    y_turned, grad_turned = loss_gradient(turned, Q @ G @ Q.T)
    assert same(unvech(y_turned, channels), Q @ unvech(y, channels) @ Q.T, 1e-11)
    assert same(grad_turned.flatten(2), Q @ grad.flatten(2), 1e-9)


@pytest.mark.parametrize("name", SPECTRAL)
@few
@given(x=features(), seed=seeds)
def test_order_of_positions_is_no_matter(name: str, x: Tensor, seed: int) -> None:
    """1e-6 for gradients: sums in another order turn close eigenvectors, which the approximate kernels weigh apart."""
    flat = x.flatten(2)
    order = torch.randperm(flat.shape[-1], generator=torch.Generator().manual_seed(seed))
    gradient = grad_out(x.shape[1], len(x))
    layer = pooling(name, x.shape[1])
    y, grad = forward_backward(layer, flat[..., None], gradient)
    y_moved, grad_moved = forward_backward(layer, flat[..., order, None], gradient)
    assert same(y_moved, y, 1e-7)  # the root of a null eigenvalue's rounding
    assert same(grad_moved, grad[:, :, order], 1e-6)


@pytest.mark.parametrize(
    ("name", "option", "steps"),
    [
        ("taylor", "degree", (2, 5, 4000)),
        ("pi", "iterations", (2, 5, 4000)),
        ("newton", "iterations", (2, 5, 40)),
        ("halley", "iterations", (1, 2, 20)),
        ("lorentz", "width", (1e-1, 1e-2, 1e-7)),
    ],
)
@few
@given(seed=seeds)
def test_limit_is_exact(name: str, option: str, steps: tuple[int, ...], seed: int) -> None:
    """Ratios of eigenvalues of 0.9 and less: 0.9^4000 is nothing; and each step on the way is closer."""
    x, _ = with_spectrum([1.0, 0.9, 0.7, 0.2], 9, seed)
    gradient = grad_out(4, seed=seed)
    exact = forward_backward(pooling("lyapunov", 4), x, gradient)[1]
    errors = [
        relative_error(forward_backward(pooling(name, 4, **{option: count}), x, gradient)[1], exact) for count in steps
    ]
    assert errors[0] > errors[1]
    assert errors[2] < 1e-11


@pytest.mark.parametrize("name", SPECTRAL)
@few
@given(
    eigenvalues=st.lists(st.floats(0, 1e6), min_size=1, max_size=7),
    repeat=st.booleans(),
)
def test_kernel_is_symmetric_and_finite(name: str, eigenvalues: list[float], repeat: bool) -> None:
    lam = torch.tensor(sorted(eigenvalues + eigenvalues[: int(repeat)], reverse=True), dtype=torch.float64)
    lam = torch.where(lam > 1e-14 * lam[0], lam, 0)
    method = spectral_method(name)
    seen = spectrum(lam[None], len(lam), 50, SquareRoot(), True)
    L = as_loewner(method.kernel(seen, method.options), seen).matrix
    assert torch.isfinite(L).all()
    assert same(L, L.mT, 1e-15)
