"""The layer inside what torch offers: second derivatives, torch.func, compile, export, autocast, layouts, dtypes."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import product

import pytest
import torch
from torch import Tensor, nn
from torch.autograd import gradcheck, gradgradcheck

import gcp
from gcp.errors import DerivativeError
from gcp.methods import list_methods
from gcp.pooling.factory import create_pooling
from tests.gcp.helpers import SPECTRAL, forward_backward, grad_out, noise, pooling, relative_error
from tests.slow import slow_unless

SHAPES = [(2, 4, 3, 3), (2, 6, 2, 2)]  # full rank, and rank N - 1 < C


@pytest.fixture
def fresh_dynamo() -> Iterator[None]:
    torch._dynamo.reset()
    yield
    torch._dynamo.reset()


@pytest.mark.parametrize("path", ["gram", "dense"])
@pytest.mark.parametrize("shape", [(2, 3, 2, 3), (2, 4, 2, 2), (1, 4, 3, 3)])
def test_second_derivative(shape: tuple[int, ...], path: str) -> None:
    x = noise(*shape).requires_grad_()
    layer = pooling("lyapunov", shape[1], path=path)
    assert gradcheck(layer, x)
    assert gradgradcheck(lambda x: layer(x).pow(2), x)


def test_second_derivative_at_ties() -> None:
    """The covariance is the identity: a formula with 1/(lam_i - lam_j) has nothing to say here."""
    x = torch.linalg.qr(torch.cat([torch.ones(12, 1, dtype=torch.float64), noise(12, 4)], 1))[0][:, 1:].T
    assert gradgradcheck(pooling("lyapunov", 4), (x.reshape(1, 4, 3, 4) * 12**0.5).requires_grad_())


def test_hessian_of_a_hessian_free_method() -> None:
    """Everywhere but lyapunov, in every way to ask for it, also for a loss linear in the output: a typed error."""
    for name in SPECTRAL:
        if name == "lyapunov":
            continue
        layer = pooling(name, 4)
        x = noise(1, 4, 3, 3).requires_grad_()
        (grad,) = torch.autograd.grad(layer(x).sum(), x, create_graph=True)
        with pytest.raises(DerivativeError, match="lyapunov"):
            grad.sum().backward()
        with pytest.raises(DerivativeError, match="lyapunov"):
            torch.func.jacrev(torch.func.jacrev(lambda x, layer=layer: layer(x).sum()))(x.detach())


def test_hessian_by_torch_func() -> None:
    layer = pooling("lyapunov", 6)
    x = noise(1, 6, 2, 2)

    def loss(x: Tensor) -> Tensor:
        return layer(x).pow(3).sum()

    found = torch.func.jacrev(torch.func.jacrev(loss))(x)
    assert torch.allclose(found, torch.autograd.functional.hessian(loss, x), rtol=1e-10, atol=1e-12)
    with pytest.raises(DerivativeError, match="third"):
        torch.func.jacrev(torch.func.jacrev(torch.func.jacrev(loss)))(x)
    assert torch.allclose(torch.func.hessian(loss)(x), found, rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("name", SPECTRAL)
def test_torch_func(name: str, shape: tuple[int, ...]) -> None:
    layer = pooling(name, shape[1])
    x = noise(*shape)

    def loss(sample: Tensor) -> Tensor:
        return layer(sample[None]).pow(2).sum()

    expected = torch.autograd.functional.jacobian(lambda x: layer(x).pow(2).sum(), x)
    assert torch.allclose(torch.func.vmap(lambda sample: layer(sample[None])[0])(x), layer(x), rtol=1e-12, atol=1e-14)
    assert torch.allclose(torch.func.vmap(torch.func.grad(loss))(x), expected, rtol=1e-10, atol=1e-12)
    batches = torch.stack([x, 2 * x], 1)
    both = torch.func.vmap(layer, in_dims=1)(batches)
    assert torch.allclose(both, torch.stack([layer(x), layer(2 * x)]), rtol=1e-12, atol=1e-14)
    jacobian = torch.autograd.functional.jacobian(layer, x)
    assert torch.allclose(torch.func.jacrev(layer)(x), jacobian, rtol=1e-10, atol=1e-12)


def compiled(layer: nn.Module, backend: str, shape: tuple[int, ...]) -> None:
    x, gradient = noise(*shape).float(), grad_out(shape[1], shape[0])
    found = forward_backward(torch.compile(layer, fullgraph=True, backend=backend), x, gradient)
    for got, expected in zip(found, forward_backward(layer, x, gradient), strict=True):
        assert relative_error(got, expected) < 1e-5  # float32, fused in another order


@pytest.mark.usefixtures("fresh_dynamo")
@pytest.mark.parametrize(
    ("name", "precision"),
    slow_unless([("pade", "mixed"), ("lyapunov", "float32")], product(SPECTRAL, ["mixed", "float32"])),
)
def test_compile_without_graph_breaks(name: str, precision: str) -> None:
    compiled(create_pooling(name, 6, precision=precision), "aot_eager", (2, 6, 2, 2))


@pytest.mark.usefixtures("fresh_dynamo")
@pytest.mark.parametrize(
    ("name", "dynamic"),
    slow_unless([("pade", True), ("isqrt", None), ("compact_bilinear", None)], product(list_methods(), [None, True])),
)
def test_compile_for_maps_of_changing_size(name: str, dynamic: bool | None) -> None:
    layer = create_pooling(name, 6).eval()
    network = torch.compile(layer, fullgraph=True, dynamic=dynamic, backend="eager")
    for shape in ((2, 6, 2, 3), (2, 6, 4, 5), (3, 6, 3, 3)):
        x = noise(*shape).float()
        assert relative_error(network(x), layer(x)) < 1e-5


@pytest.mark.slow
@pytest.mark.usefixtures("fresh_dynamo")
@pytest.mark.parametrize("name", SPECTRAL)
def test_compile_by_inductor(name: str) -> None:
    compiled(create_pooling(name, 6), "inductor", (2, 6, 3, 3))


@pytest.mark.usefixtures("fresh_dynamo")
@pytest.mark.parametrize(
    ("name", "strict"), slow_unless([("pade", True), ("lyapunov", False)], product(SPECTRAL, [True, False]))
)
def test_export(name: str, strict: bool) -> None:
    layer, x = create_pooling(name, 6), noise(2, 6, 2, 2).float()
    program = torch.export.export(layer, (x,), strict=strict)
    y, expected = program.module()(x), layer(x)
    assert relative_error(y, expected) < 1e-6
    assert "gcp" not in program.graph_module.code.replace("gcp_lambda", "")  # runs where this library is not installed


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32, torch.float64])
@pytest.mark.parametrize("precision", ["mixed", "float64", "float32"])
def test_dtypes(precision: str, dtype: torch.dtype) -> None:
    """Output and gradient have the input's dtype; the error is the rounding of the output, not of the computation."""
    x, gradient = noise(2, 6, 4, 4).to(dtype), grad_out(6, 2).to(dtype)
    found = forward_backward(create_pooling("pade", 6, precision=precision), x, gradient)
    expected = forward_backward(pooling("pade", 6), x.double(), gradient.double())
    for got, oracle in zip(found, expected, strict=True):
        assert got.dtype == dtype
        assert relative_error(got, oracle) < max(torch.finfo(dtype).eps, 1e-5 if precision == "float32" else 1e-6)


def test_autocast_changes_nothing() -> None:
    layer, x, gradient = create_pooling("lyapunov", 6), noise(2, 6, 4, 4).float(), grad_out(6, 2).float()
    expected = forward_backward(layer, x, gradient)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        found = forward_backward(layer, x, gradient)
    for got, plain in zip(found, expected, strict=True):
        assert got.dtype == torch.float32
        assert torch.equal(got, plain)


@pytest.mark.parametrize("name", SPECTRAL)
def test_layouts(name: str) -> None:
    """Channels last, slices and transposed maps are the same features; 1e-12: sums in another order."""
    x, gradient = noise(2, 6, 4, 3), grad_out(6, 2)
    layer = pooling(name, 6)
    expected = forward_backward(layer, x, gradient)
    sliced = noise(2, 6, 4, 6)
    sliced[..., ::2] = x
    for other in (x.to(memory_format=torch.channels_last), sliced[..., ::2], x.mT.contiguous().mT):
        leaf = other.requires_grad_()
        y = layer(leaf)
        (grad,) = torch.autograd.grad(y, leaf, gradient)
        assert relative_error(y.detach(), expected[0]) < 1e-12
        assert relative_error(grad, expected[1]) < 1e-11


@pytest.mark.usefixtures("fresh_dynamo")
def test_several_functions_in_one_graph() -> None:
    """Their methods and options are constants of the program, each its own; an exponent may be a tensor."""
    alpha = torch.tensor(0.4, dtype=torch.float64)

    def several(P: Tensor) -> Tensor:
        roots = gcp.spectral_function(P) + gcp.spectral_function(P, "log", "taylor", degree=20, eps=1e-2)
        roots = roots + gcp.spectral_function(P, "power", alpha=alpha, positive=True)
        return roots + sum(gcp.linalg.eigh(P, method=name).eigenvectors.abs() for name in ("taylor", "pade"))

    A = noise(2, 3, 5)
    network = torch.compile(several, fullgraph=True, backend="eager")
    for P in (A @ A.mT, 2 * A @ A.mT):
        assert torch.equal(network(P), several(P))
