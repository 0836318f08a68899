"""Features and matrices of any size: a power of two multiplies the result, and changes no digit, or an error says why.

Logarithm and exponential do not scale, `trunc` has an absolute limit, and the literal `seb` an absolute exponential:
they are right or refuse.
"""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

import gcp
from gcp.errors import DomainError
from gcp.pooling.factory import create_pooling
from gcp.spectral.maps import Power
from tests.gcp.helpers import SPECTRAL, forward_backward, has_meaning, noise, relative_error
from tests.gcp.variants import Variant, label, layer, variants

# features in float32 from 1e-30 to 1e30, in float64 from 1e-300 to 1e300
EXPONENTS = {torch.float32: (-100, -67, -40, 40, 67, 100), torch.float64: (-996, -500, 500, 996)}
SHAPES = [(2, 4, 3, 3), (2, 6, 2, 2)]  # full rank, and rank N - 1 < C
DTYPES = [torch.float32, torch.float64]


def degree(variant: Variant) -> float | None:
    """Of the layer as a function of the features, or none."""
    name, options = variant
    if (
        name in ("logm", "cholesky", "trunc")
        or "trunc" in options.values()
        or (name == "seb" and not options.get("reweight"))
    ):
        return None
    return {"bilinear": 0.0, "compact_bilinear": 0.0, "dropcov": 2.0}.get(name, 1.0)


def check(function: torch.nn.Module, x: Tensor, power: float | None, exponent: int) -> None:
    """Value and gradient of ``function`` at 2^exponent x against those at x, bit for bit; or DomainError."""
    gradient = noise(*function(x).shape, seed=9).to(x.dtype)
    y, grad = forward_backward(function, x, gradient)
    try:
        found, found_grad = forward_backward(function, x * 2.0**exponent, gradient)
    except DomainError:
        excused = power is None or not fits(y, power * exponent)
        assert excused, "a function that scales has no excuse but the range of the type"
        return
    assert found.isfinite().all()
    assert found_grad.isfinite().all()
    if power is None:
        return
    if getattr(function, "learnable", False):  # the exponential of a logarithm, close to 1/2
        power = 2 * float(function.alpha.detach())
        # 2^(power exponent) is rounded, and the power again: twice |exponent log(2)| roundings
        single = x.dtype == torch.float32 or function.method.options.precision == "float32"  # alpha's precision, then
        tolerance = 2 * abs(exponent) * torch.finfo(torch.float32 if single else x.dtype).eps
        assert relative_error(found, y * 2.0 ** (power * exponent)) < tolerance
        assert relative_error(found_grad, grad * 2.0 ** ((power - 1) * exponent)) < 100 * tolerance
        return
    assert torch.equal(found, y * 2.0 ** (power * exponent))
    assert torch.equal(found_grad, grad * 2.0 ** ((power - 1) * exponent))


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("variant", variants(), ids=label)
def test_layers(variant: Variant, dtype: torch.dtype, shape: tuple[int, ...]) -> None:
    pool = layer(variant, shape[1], dimension=16).to(dtype)
    x = noise(*shape).to(dtype)
    for exponent in EXPONENTS[dtype]:
        check(pool, x, degree(variant), exponent)


FUNCTIONS = {
    "sqrt": ("sqrt", 0.5, {}),
    "sqrt, eps": ("sqrt", 0.5, {"eps": 0.1}),
    "inverse_sqrt": ("inverse_sqrt", -0.5, {}),
    "inverse_sqrt, eps": ("inverse_sqrt", -0.5, {"eps": 0.1}),
    "square": (Power(2), 2, {}),
    "identity": (Power(1.0), 1, {}),
    "inverse": (Power(-1.0), -1, {}),
}


def value_and_gradient(function, P: Tensor) -> tuple[Tensor, Tensor]:
    leaf = P.clone().requires_grad_()
    Z = function(leaf)
    Z.backward(noise(*Z.shape, seed=9).to(P.dtype))
    assert leaf.grad is not None
    return Z.detach(), leaf.grad


def fits(tensor: Tensor, exponent: float) -> bool:
    """Whether 2^exponent times each entry that is not 0 is a normal number of the type."""
    limits = torch.finfo(tensor.dtype)
    size = tensor[tensor != 0].double().abs().log2() + exponent
    return bool(size.min() >= math.log2(limits.tiny)) and bool(size.max() < math.log2(limits.max))


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("case", FUNCTIONS)
@pytest.mark.parametrize("method", [name for name in SPECTRAL if name != "trunc"])
def test_matrix_functions(method: str, case: str, dtype: torch.dtype) -> None:
    """Exact wherever result and gradient are normal numbers; where the result is not, an error that says the range."""
    f, degree, options = FUNCTIONS[case]
    if not has_meaning(method, getattr(f, "name", f)):
        pytest.skip("no meaning")
    if method == "topn" and degree < 0 and not options:
        pytest.skip("infinite at what it drops")
    A = noise(2, 4, 6)
    P = (A @ A.mT).to(dtype)

    def function(P: Tensor) -> Tensor:
        return gcp.spectral_function(P, f, method, **options)

    Z, grad = value_and_gradient(function, P)
    for exponent in EXPONENTS[dtype]:
        exponent = exponent // 2 * 2  # so that roots scale by a power of two
        scaled = P * 2.0**exponent
        largest = torch.linalg.eigvalsh(Z.double()).abs().amax(-1)
        if not (fits(largest.to(dtype), degree * exponent) and fits(Z.abs().amax().to(dtype), degree * exponent)):
            with pytest.raises(DomainError, match=r"out of the range of float(32|64), .* to .*; scale"):
                function(scaled)
            continue
        found, found_grad = value_and_gradient(function, scaled)
        torch.testing.assert_close(found, Z * 2.0 ** (degree * exponent), rtol=0, atol=0)
        if fits(grad, (degree - 1) * exponent):
            factor = 2.0 ** ((degree - 1) * exponent)
            torch.testing.assert_close(found_grad, grad * factor, rtol=4 * torch.finfo(dtype).eps, atol=0)


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("inverse", [False, True])
@pytest.mark.parametrize("method", ["mpa", "mtp"])
def test_matrix_roots(method: str, inverse: bool, dtype: torch.dtype) -> None:
    A = noise(2, 4, 6)
    P, degree = (A @ A.mT).to(dtype), -0.5 if inverse else 0.5

    def function(P: Tensor) -> Tensor:
        return gcp.matrix_root(P, method, inverse=inverse)

    Z, grad = value_and_gradient(function, P)
    for exponent in (*EXPONENTS[dtype], 60, -60, 120 if dtype == torch.float32 else 1016):
        exponent = exponent // 2 * 2  # so that roots scale by a power of two
        found, found_grad = value_and_gradient(function, P * 2.0**exponent)
        assert torch.equal(found, Z * 2.0 ** (degree * exponent))
        if fits(grad, (degree - 1) * exponent):
            assert torch.equal(found_grad, grad * 2.0 ** ((degree - 1) * exponent))


def test_the_largest_matrices() -> None:
    for size in (1e308, 1e-300):
        P = size * torch.eye(3, dtype=torch.float64)
        for Z in (gcp.spectral_function(P, "sqrt"), gcp.matrix_root(P), gcp.spectral_function(P, "sqrt", "trunc")):
            assert relative_error(Z, size**0.5 * torch.eye(3, dtype=torch.float64)) < 5e-3  # mpa's own error
    for call, P in (
        (lambda P: gcp.spectral_function(P, "exp_neg"), -100 * torch.eye(3)),
        (lambda P: gcp.spectral_function(P, Power(2)), 1e30 * torch.eye(3)),
        (lambda P: gcp.spectral_function(P, Power(2)), 1e-30 * torch.eye(3)),
        (lambda P: gcp.covariance_function(P, Power(2)), 1e20 * torch.eye(3)[None]),
        (lambda P: gcp.covariance_function(P, Power(2)), 1e-20 * torch.eye(3)[None]),
        (lambda P: gcp.covariance_function(P, "log", eps=0.1), 1e200 * torch.eye(3, dtype=torch.float64)[None]),
        (lambda P: gcp.covariance_function(P, "log", eps=0.1), 1e-200 * torch.eye(3, dtype=torch.float64)[None]),
    ):
        with pytest.raises(DomainError, match=r"range|scale them"):
            call(P)
    assert gcp.spectral_function(100 * torch.eye(3), "exp_neg").diagonal().max() < 1e-40  # right: exp(-100) is 4e-44


@pytest.mark.parametrize("method", [*SPECTRAL, "mpa", "mtp"])
def test_a_gradient_too_large_for_its_type_is_not_finite(method: str) -> None:
    """No error, for loss scaling looks for infinity and takes a smaller scale; but never a number that looks right."""
    P = ((torch.eye(3) + 0.5) * 2.0**-100).requires_grad_()
    Z = gcp.matrix_root(P, method) if method in ("mpa", "mtp") else gcp.spectral_function(P, "sqrt", method)
    Z.backward(torch.eye(3) * 2.0**80)  # the gradient at P is about 2^50 times that
    assert P.grad is not None
    assert not P.grad.diagonal().isfinite().any()


@pytest.mark.parametrize("scale", [1e-30, 1e-15, 1e15, 1e30])
def test_second_derivatives(scale: float) -> None:
    """In float32, whose range the square of a gradient's size would leave."""
    x = noise(1, 4, 3, 3).float()

    def hessian(unit: float) -> Tensor:
        pool = create_pooling("lyapunov", 4)
        leaf = (x * unit).requires_grad_()
        (grad,) = torch.autograd.grad(pool(leaf).sum(), leaf, create_graph=True)
        (second,) = torch.autograd.grad(grad, leaf, noise(1, 4, 3, 3, seed=2).float())
        return second

    assert relative_error(hessian(scale) * scale, hessian(1.0)) < 1e-5


def test_a_neighbour_of_another_size_changes_nothing() -> None:
    x = noise(1, 4, 3, 3).float()
    for name in ("isqrt", "mpa", "mtp", "lyapunov", "bilinear"):
        pool = create_pooling(name, 4)
        alone = pool(torch.cat([x, x]))[:1]
        for size in (1e-30, 1e30, 0.0):
            assert torch.equal(pool(torch.cat([x, size * x]))[:1], alone)
