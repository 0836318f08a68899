"""seb, logm and power: functions of the covariance other than its root, against SciPy and published values."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import scipy.linalg
import torch
from torch import Tensor

from gcp.errors import NonFiniteError
from gcp.pooling.factory import create_pooling
from gcp.pooling.seb import AmplifiedRoot
from tests.gcp.helpers import covariance, forward_backward, grad_out, noise, relative_error, unvech

FOLDER = Path(__file__).parent.parent / "reference"
SHAPES = [(2, 4, 3, 4), (2, 7, 2, 3)]


def layer(name: str, channels: int, **options: object) -> torch.nn.Module:
    return create_pooling(name, channels, precision="float64", **options)


def test_seb_is_the_published_layer() -> None:
    with np.load(FOLDER / "layers_fullrank.npz") as stored:
        values = {key: torch.from_numpy(stored[key]) for key in stored}
    x = values["x"].double()
    y, grad = forward_backward(layer("seb", x.shape[1]), x, values["grad_out"])
    assert relative_error(y, values["seb.out"]) < 1e-6
    assert relative_error(grad, values["seb.grad"]) < 1e-6


@pytest.mark.parametrize("shape", SHAPES)
def test_seb_is_a_scalar_gain(shape: tuple[int, ...]) -> None:
    x = noise(*shape)
    Q = unvech(layer("lyapunov", shape[1])(x), shape[1])
    S = torch.linalg.matrix_exp(-covariance(x))
    gain = 1 + torch.linalg.matrix_norm(Q @ S.mT)
    assert relative_error(unvech(layer("seb", shape[1])(x), shape[1]), gain[:, None, None] * Q) < 1e-12


@pytest.mark.parametrize("shape", SHAPES)
def test_reweight_amplifies_small_eigenvalues(shape: tuple[int, ...]) -> None:
    x = noise(*shape)
    channels = shape[1]
    P = covariance(x)
    mean = P.diagonal(dim1=-2, dim2=-1).mean(-1)[:, None, None]
    Q = unvech(layer("lyapunov", channels)(x), channels)
    expected = Q + Q @ torch.linalg.matrix_exp(-P / mean)
    found = unvech(layer("seb", channels, reweight=True)(x), channels)
    assert relative_error(found, expected) < 1e-12
    ratio = torch.linalg.eigvalsh(found) / torch.linalg.eigvalsh(Q)
    kept = ratio[:, -min(channels, shape[2] * shape[3] - 1) :]  # ascending: from the smallest that is not null
    assert (kept.diff(dim=-1) < 0).all()
    assert (kept > 1).all()
    assert (kept < 2).all()
    scaled = layer("seb", channels, reweight=True)(1e3 * x)
    assert relative_error(scaled, 1e3 * layer("seb", channels, reweight=True)(x)) < 1e-12


def test_amplified_root_is_consistent() -> None:
    f = AmplifiedRoot()
    a = torch.tensor([2.0, 0.5, 1e-3, 1.0], dtype=torch.float64, requires_grad=True)
    (slope,) = torch.autograd.grad(f.value(a).sum(), a)
    assert torch.allclose(f.derivative(a), slope, rtol=1e-14)
    assert torch.allclose(f.divided_difference(a, a), slope, rtol=1e-13)
    b = torch.tensor([1.0, 0.0, 2e-3, 1.0 + 1e-9], dtype=torch.float64)
    quotient = (f.value(a) - f.value(b)) / (a - b)
    assert torch.allclose(f.divided_difference(a, b), quotient, rtol=1e-6)


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("seb", {}),
        ("seb", {"kernel": "lyapunov"}),
        ("seb", {"reweight": True}),
        ("logm", {"eps": 1e-2}),
        ("power", {"alpha": 0.3}),
        ("power", {"alpha": 0.7, "learnable": False, "kernel": "original"}),
    ],
)
def test_gradcheck(name: str, options: dict[str, object], shape: tuple[int, ...]) -> None:
    pool = layer(name, shape[1], **options)
    x = noise(*shape).requires_grad_()
    assert torch.autograd.gradcheck(pool, x, eps=1e-6, atol=1e-6, rtol=1e-5)


@pytest.mark.parametrize("shape", SHAPES)
def test_logm_is_scipys(shape: tuple[int, ...]) -> None:
    x = noise(*shape)
    found = unvech(layer("logm", shape[1], eps=1e-2)(x), shape[1])
    for P, matrix in zip(covariance(x), found, strict=True):
        shifted = P + 1e-2 * P.trace() / len(P) * torch.eye(len(P), dtype=P.dtype)
        assert relative_error(matrix, torch.from_numpy(scipy.linalg.logm(shifted.numpy()))) < 1e-10


@pytest.mark.parametrize("alpha", [0.3, 0.5, 1.0, 1.5])
def test_power_is_scipys(alpha: float) -> None:
    x = noise(2, 4, 3, 4)
    pool = layer("power", 4, alpha=alpha)
    found = unvech(pool(x).detach(), 4)
    for P, matrix in zip(covariance(x), found, strict=True):
        # the exponent is held in float32
        expected = torch.from_numpy(scipy.linalg.fractional_matrix_power(P.numpy(), alpha).real)
        assert relative_error(matrix, expected) < 1e-6
    assert pool.alpha.item() == pytest.approx(alpha, rel=1e-6)


def test_the_exponent_is_learned() -> None:
    """Its gradient is the numerical one; and it finds the exponent that made the target."""
    x = noise(4, 5, 4, 4)
    gradient = grad_out(5, 4)
    pool = layer("power", 5, alpha=0.4).double()
    (pool(x) * gradient).sum().backward()
    values = []
    for step in (1e-6, -1e-6):
        moved = layer("power", 5, alpha=0.4).double()
        moved.load_state_dict(pool.state_dict())
        moved.log_alpha.data += step
        values.append((moved(x) * gradient).sum().item())
    assert pool.log_alpha.grad.item() == pytest.approx((values[0] - values[1]) / 2e-6, rel=1e-6)
    assert list(layer("power", 5, learnable=False).parameters()) == []

    target = layer("power", 5, alpha=0.7)(x).detach()
    pool = layer("power", 5)
    optimizer = torch.optim.Adam(pool.parameters(), lr=0.1)
    for _ in range(60):
        optimizer.zero_grad()
        (pool(x) - target).square().sum().backward()
        optimizer.step()
    assert pool.alpha.item() == pytest.approx(0.7, abs=0.01)


def test_a_fixed_exponent_is_the_one_of_the_state_dict():
    x = noise(2, 5, 3, 3)
    learned = layer("power", 5, alpha=0.7)
    fixed = layer("power", 5, alpha=0.5, learnable=False)
    before = fixed(x)
    fixed.load_state_dict(layer("power", 5, learnable=False).bfloat16().state_dict())
    assert torch.equal(fixed(x), before)  # the same exponent, rounded
    fixed.load_state_dict(learned.state_dict())
    torch.testing.assert_close(fixed(x), learned(x), rtol=1e-6, atol=1e-6)  # the exponent is kept in float32


@pytest.mark.parametrize("name", ["seb", "logm", "power"])
def test_not_finite(name: str) -> None:
    x: Tensor = noise(3, 4, 2, 2)
    x[1, 0] = torch.nan
    with pytest.raises(NonFiniteError, match="sample 1 of 3"):
        layer(name, 4)(x)
    options: dict[str, object] = {"reweight": True} if name == "seb" else {}
    y, grad = forward_backward(layer(name, 4, nonfinite="zero", **options), x, grad_out(4, 3))
    assert y.isfinite().all()
    assert grad.isfinite().all()
    assert grad[1].abs().max() == 0
