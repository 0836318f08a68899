"""MPA and MTP: values against the exact root, gradients against SciPy's Lyapunov solver."""

from __future__ import annotations

import math
from collections.abc import Callable

import pytest
import scipy.interpolate
import scipy.linalg
import torch
from torch import Tensor

import gcp
from gcp.errors import DerivativeError, DomainError, DtypeError, OptionError, ShapeError, UnknownNameError
from gcp.methods.mpa import coefficients as pade_coefficients
from gcp.methods.mpa import mpa as pade
from gcp.methods.mtp import coefficients as taylor_coefficients
from gcp.pooling.factory import create_pooling
from gcp.roots.matrix_root import lyapunov_solution
from tests.gcp.helpers import covariance, forward_backward, grad_out, noise, orthogonal, relative_error, unvech

METHODS = ["mpa", "mtp"]


def matrices(eigenvalues: list[float], batch: int = 2) -> Tensor:
    lam = torch.tensor(eigenvalues, dtype=torch.float64)
    bases = torch.stack([orthogonal(len(lam), seed) for seed in range(batch)])
    return bases * lam @ bases.mT


def scalar(method: str, degree: int, inverse: bool, x: Tensor) -> Tensor:
    """The approximant of sqrt(x) or 1/sqrt(x), written down for numbers, from SciPy's Taylor series and Pade solver."""
    series = [scipy.special.binom(-0.5 if inverse else 0.5, k) for k in range(2 * degree + 1)]
    if method == "mtp":
        return sum(series[k] * (x - 1) ** k for k in range(degree + 1))
    p, q = scipy.interpolate.pade(series, degree)
    return torch.from_numpy(p(x.numpy() - 1) / q(x.numpy() - 1))


@pytest.mark.parametrize("inverse", [False, True])
@pytest.mark.parametrize(("method", "degree"), [("mpa", 5), ("mpa", 2), ("mtp", 10), ("mtp", 1)])
def test_the_matrix_is_the_scalar_approximant_of_its_eigenvalues(method: str, degree: int, inverse: bool) -> None:
    lam = [3.0, 1.0, 0.9, 0.2, 0.01]
    A = matrices(lam)
    norm = torch.tensor(lam, dtype=torch.float64).norm()
    ascending, U = torch.linalg.eigh(A)
    values = scalar(method, degree, inverse, ascending / norm) * norm ** (-0.5 if inverse else 0.5)
    found = gcp.matrix_root(A, method, inverse=inverse, degree=degree)
    # 1e-9: SciPy solves for the Pade coefficients
    assert relative_error(found, U * values.unsqueeze(-2) @ U.mT) < 1e-9


@pytest.mark.parametrize("degree", [1, 5, 10])
def test_pade_and_its_inverse_in_closed_form(degree: int) -> None:
    """r(x)^2 agrees with x to order 2 degree + 1 at 1; and the largest error on [0, 1] is 1/m, at 0."""
    p, q = pade_coefficients(degree)
    assert sum(p) == pytest.approx(1, rel=1e-14)
    assert sum(q) == pytest.approx(1, rel=1e-14)
    x = torch.linspace(0, 1, 1001, dtype=torch.float64)
    r = sum(c * x**k for k, c in enumerate(p)) / sum(c * x**k for k, c in enumerate(q))
    m = 2 * degree + 1
    assert (r - x.sqrt()).abs().max() == pytest.approx(1 / m)
    s = x.sqrt()
    exact = 2 * s * (1 - s) ** m / ((1 + s) ** m - (1 - s) ** m)
    assert ((r - s) - exact)[1:].abs().max() < 1e-14


def test_taylor_coefficients() -> None:
    assert taylor_coefficients(3, False) == pytest.approx([1, -1 / 2, -1 / 8, -1 / 16])
    assert taylor_coefficients(3, True) == pytest.approx([1, 1 / 2, 3 / 8, 5 / 16])


# Largest error of the approximant where eigenvalues are at least 0.05 of the norm: from the scalar formulas.
@pytest.mark.parametrize(("method", "tolerance"), [("mpa", 5e-3), ("mtp", 7e-2)])
@pytest.mark.parametrize("inverse", [False, True])
@pytest.mark.parametrize("scale", [1e-6, 1.0, 1e6])
def test_close_to_the_exact_root(method: str, tolerance: float, inverse: bool, scale: float) -> None:
    A = matrices([1.0, 0.7, 0.3, 0.1]) * scale
    ascending, U = torch.linalg.eigh(A)
    exact = U * (ascending ** (-0.5 if inverse else 0.5)).unsqueeze(-2) @ U.mT
    found = gcp.matrix_root(A, method, inverse=inverse)
    assert relative_error(found, exact) < tolerance * (4 if inverse else 1)


CONVERGED = [("mpa", 10), ("mtp", 60)]


@pytest.mark.parametrize(("method", "degree"), CONVERGED)
def test_high_degrees_converge(method: str, degree: int) -> None:
    A = matrices([1.0, 0.8, 0.5])
    for inverse in (False, True):
        B = gcp.matrix_root(A, method, inverse=inverse, degree=degree)
        expected = torch.linalg.inv(A) if inverse else A
        assert relative_error(B @ B, expected) < 1e-9


@pytest.mark.parametrize("batch", [(), (2, 3)])
def test_lyapunov_solution_is_scipys(batch: tuple[int, ...]) -> None:
    B = noise(*batch, 5, 5, seed=1)
    B = B @ B.mT + torch.eye(5)
    C = noise(*batch, 5, 5, seed=2)
    C = C + C.mT
    X = lyapunov_solution(B, C, 30)
    for b, c, x in zip(B.reshape(-1, 5, 5), C.reshape(-1, 5, 5), X.reshape(-1, 5, 5), strict=True):
        expected = torch.from_numpy(scipy.linalg.solve_continuous_lyapunov(b.numpy(), c.numpy()))
        assert relative_error(x, expected) < 1e-11


def published(B: Tensor, C: Tensor, iterations: int) -> Tensor:
    """Algorithm 2 of arXiv 2201.08663, as printed: B, C divided by |B^2|^(1/2)."""
    eye = torch.eye(len(B), dtype=B.dtype)
    norm = torch.linalg.matrix_norm(B @ B).sqrt()
    B, C = B / norm, C / norm
    for _ in range(iterations):
        C = (C @ (3 * eye - B @ B) - B @ B @ C + B @ C @ B) / 2
        B = B @ (3 * eye - B @ B) / 2
    return C / 2


def test_the_published_iteration() -> None:
    B, C = noise(64, 196), noise(64, 64, seed=1)
    B, C = B @ B.mT / 196, C + C.mT
    assert relative_error(lyapunov_solution(B, C, 8), published(B, C, 8)) < 1e-12


@pytest.mark.parametrize("method", METHODS)
def test_eight_iterations_are_enough_for_the_published_maps(method: str) -> None:
    """256 channels, 784 positions: 1e-5 of the converged gradient, where dividing by |B|_F leaves 1e-1."""
    x, gradient = noise(1, 256, 28, 28), grad_out(256)
    found, converged = (
        forward_backward(create_pooling(method, 256, backward_iterations=steps), x, gradient)[1] for steps in (8, 16)
    )
    assert (found - converged).norm() < 2e-5 * converged.norm()


@pytest.mark.parametrize("inverse", [False, True])
@pytest.mark.parametrize("method", METHODS)
def test_gradient_solves_the_lyapunov_equation_at_the_computed_root(method: str, inverse: bool) -> None:
    A = matrices([2.0, 1.0, 0.5, 0.5, 0.1]).requires_grad_()
    G = noise(2, 5, 5)
    B = gcp.matrix_root(A, method, inverse=inverse, backward_iterations=40)
    B.backward(G)
    assert A.grad is not None
    for b, g, found in zip(B.detach(), G, A.grad, strict=True):
        right = (g + g.T) / 2
        if inverse:
            right = -b @ b @ right @ b @ b
        expected = torch.from_numpy(scipy.linalg.solve_continuous_lyapunov(b.numpy(), right.numpy()))
        assert relative_error(found, expected) < 1e-10


@pytest.mark.parametrize("inverse", [False, True])
@pytest.mark.parametrize(("method", "degree"), CONVERGED)
def test_gradient_is_the_exact_roots_where_the_approximant_has_converged(
    method: str, degree: int, inverse: bool
) -> None:
    A = matrices([1.0, 0.8, 0.5])
    G = noise(2, 3, 3)
    grads = []
    for run in (
        lambda A: gcp.matrix_root(A, method, inverse=inverse, degree=degree, backward_iterations=40),
        lambda A: gcp.spectral_function(A, "inverse_sqrt" if inverse else "sqrt"),
    ):
        leaf = A.clone().requires_grad_()
        run(leaf).backward(G)
        grads.append(leaf.grad)
    assert relative_error(*grads) < 1e-8


@pytest.mark.parametrize("shape", [(2, 6, 4, 5), (2, 12, 2, 3)])
@pytest.mark.parametrize("method", METHODS)
def test_pooling(method: str, shape: tuple[int, ...]) -> None:
    """The layer is matrix_root of the covariance; full rank and rank deficient."""
    x, gradient = noise(*shape) + 3, grad_out(shape[1], 2)
    y, grad = forward_backward(create_pooling(method, shape[1]), x, gradient)
    leaf = x.clone().requires_grad_()
    row, column = torch.triu_indices(shape[1], shape[1])
    expected = gcp.matrix_root(covariance(leaf), method)[:, row, column]
    (expected_grad,) = torch.autograd.grad(expected, leaf, gradient)
    assert relative_error(y, expected.detach()) < 1e-12
    assert relative_error(grad, expected_grad) < 1e-11
    # the published claim: the error is that of the approximant at a null eigenvalue, at most
    exact = unvech(create_pooling("lyapunov", shape[1], precision="float64")(x), shape[1])
    norm = torch.linalg.matrix_norm(covariance(x)).sqrt()
    largest = {"mpa": 1 / 11, "mtp": 0.18}[method]
    distance = torch.linalg.matrix_norm(unvech(y, shape[1]) - exact, ord=2)
    assert (distance <= largest * norm * (1 + 1e-12)).all()


@pytest.mark.parametrize("inverse", [False, True])
@pytest.mark.parametrize("method", METHODS)
def test_each_matrix_on_its_own(method: str, inverse: bool) -> None:
    """Zero, huge, tiny and NaN neighbours change nothing; a zero matrix gives 0 and gradient 0."""
    A = matrices([2.0, 1.0, 0.1])[:1]
    alone = A.clone().requires_grad_()
    B = gcp.matrix_root(alone, method, inverse=inverse)
    B.sum().backward()
    others = torch.cat([A, 0 * A, 1e8 * A, 1e-8 * A, math.nan * A]).requires_grad_()
    result = gcp.matrix_root(others, method, inverse=inverse)
    result.sum().backward()
    assert alone.grad is not None
    assert others.grad is not None
    assert relative_error(result[:1].detach(), B.detach()) < 1e-13
    assert relative_error(others.grad[:1], alone.grad) < 1e-13
    assert result[1].abs().max() == 0
    assert others.grad[1].abs().max() == 0
    assert result[:4].isfinite().all()
    assert others.grad[:4].isfinite().all()


def test_quotient_by_products_is_the_quotient() -> None:
    """What an exported program computes, from products alone."""
    A = matrices([1.0, 0.3, 1e-3, 0.0])
    for inverse in (False, True):

        class Quotient(torch.nn.Module):
            def forward(self, A: Tensor, inverse: bool = inverse) -> Tensor:
                return pade(A, 5, inverse)

        program = torch.export.export(Quotient(), (A,))
        names = {str(node.target) for node in program.graph.nodes}
        assert not any("cholesky" in name or "solve" in name for name in names)
        assert relative_error(program.module()(A), pade(A, 5, inverse)) < 1e-11


@pytest.mark.parametrize("inverse", [False, True])
@pytest.mark.parametrize("method", METHODS)
def test_negative_eigenvalues_are_refused(method: str, inverse: bool) -> None:
    for dtype in (torch.float32, torch.float64):
        A = torch.stack([torch.eye(2), torch.diag(torch.tensor([1.0, -0.5]))]).to(dtype)
        for scale in (1.0, 2.0**80, 2.0**-80):
            with pytest.raises(DomainError, match="matrix 1 has the eigenvalue -") as caught:
                gcp.matrix_root(A * scale, method, inverse=inverse)
            assert caught.value.samples == (1,)
        found = torch.vmap(lambda A: gcp.matrix_root(A, method, inverse=inverse))(A.abs())
        assert torch.equal(found, gcp.matrix_root(A.abs(), method, inverse=inverse))
        with pytest.raises(DomainError, match="matrix 1"):
            torch.vmap(lambda A: gcp.matrix_root(A, method))(A)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16, torch.float32, torch.float64])
def test_singular_matrices_are_not_negative(dtype: torch.dtype) -> None:
    """Rounding of either sign, as a product leaves it."""
    for seed in range(20):
        X = noise(16, 3, seed=seed).to(dtype)
        assert gcp.matrix_root(X @ X.mT).isfinite().all()


@pytest.mark.parametrize("shape", [(0, 0), (2, 0, 0), (0, 3, 3)])
def test_nothing(shape: tuple[int, ...]) -> None:
    for function in (gcp.matrix_root, gcp.spectral_function):
        A = torch.zeros(shape, requires_grad=True)
        Z = function(A)
        Z.sum().backward()
        assert A.grad is not None
        assert Z.shape == A.grad.shape == shape


@pytest.mark.parametrize("function", [gcp.matrix_root, gcp.spectral_function])
def test_whole_numbers_are_refused_and_complex_ones_where_no_decomposition_is(function: Callable[..., Tensor]) -> None:
    for dtype in (torch.complex64, torch.int64, torch.bool):
        if dtype.is_complex and function is gcp.spectral_function:
            continue
        with pytest.raises(DtypeError, match="floating point"):
            function(torch.eye(2).to(dtype))


def test_mistakes() -> None:
    with pytest.raises(ShapeError, match=r"\(3, 4\)"):
        gcp.matrix_root(torch.zeros(3, 4))
    with pytest.raises(UnknownNameError, match="did you mean 'mpa'"):
        gcp.matrix_root(torch.eye(3), "mpaa")
    with pytest.raises(OptionError, match="'pade' is no approximant of matrix roots; those are mpa, mtp"):
        gcp.matrix_root(torch.eye(3), "pade", degree=5)  # not: 'pade' has no option 'degree'
    with pytest.raises(OptionError, match="degree must be at least 1"):
        gcp.matrix_root(torch.eye(3), degree=0)
    A = torch.eye(3).requires_grad_()
    (grad,) = torch.autograd.grad(gcp.matrix_root(A).square().sum(), A, create_graph=True)
    with pytest.raises(DerivativeError, match="second derivatives"):
        grad.sum().backward()
