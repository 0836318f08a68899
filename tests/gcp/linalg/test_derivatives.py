"""Derivatives of every order in every mode, at ties too; or refused by name. Compiled and exported."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import pytest
import torch
from torch import Tensor, nn
from torch.autograd import gradcheck, gradgradcheck

import gcp
from gcp.errors import DerivativeError
from gcp.methods.table import VECTORS
from tests.gcp.linalg.matrices import COMPLEX, REAL, noise, unitary, with_eigenvalues, with_singular_values
from tests.slow import slow_unless

linalg = gcp.linalg


@dataclass(frozen=True)
class Case:
    """A function whose result has no gauge, and matrices to differentiate it at."""

    function: Callable[[Tensor], Tensor]
    tied: Callable[[torch.dtype], Tensor]
    square: bool = False
    real_only: bool = False


def rectangular(dtype: torch.dtype) -> Tensor:
    return with_singular_values([2.0, 2.0, 0.5], (4, 3), dtype)


def hermitian(dtype: torch.dtype) -> Tensor:
    return with_eigenvalues([2.0, 2.0, 0.5, 0.5], dtype)


def apart(dtype: torch.dtype) -> Tensor:
    return with_eigenvalues([2.0, -1.0, 0.5, 0.1], dtype)


def singular_apart(dtype: torch.dtype) -> Tensor:
    return with_singular_values([2.0, 1.0, 0.5], (4, 3), dtype)


def reflected(dtype: torch.dtype) -> Tensor:
    return unitary(3) @ torch.diag(torch.tensor([2.0, 2.0, -0.5], dtype=REAL))


def of_hermitian(function: Callable[[Tensor], Tensor]) -> Callable[[Tensor], Tensor]:
    return lambda A: function((A + A.mH) / 2)


def magnitudes(pair: tuple[Tensor, ...]) -> Tensor:
    return torch.cat([part.abs().flatten() for part in pair])


CASES = {
    "polar": Case(linalg.polar, rectangular),
    "procrustes": Case(lambda A: linalg.procrustes(A, rotation=False), rectangular),
    "nearest_rotation": Case(linalg.nearest_rotation, reflected, True, True),
    "eigenprojector": Case(lambda A: linalg.eigenprojector(A, 2), hermitian, True),
    "smallest_eigenvector": Case(
        linalg.smallest_eigenvector, lambda dtype: with_eigenvalues([2.0, 2.0, 2.0, 0.5], dtype), True
    ),
    "eigvalsh": Case(of_hermitian(linalg.eigvalsh), apart, True),
    "svdvals": Case(linalg.svdvals, singular_apart),
    "eigh pade": Case(of_hermitian(lambda A: magnitudes(linalg.eigh(A, method="pade"))), apart, True),
    "eigh original": Case(of_hermitian(lambda A: magnitudes(linalg.eigh(A, method="original"))), apart, True),
    "svd pade": Case(lambda A: magnitudes(linalg.svd(A, method="pade")), singular_apart),
    "svd wide": Case(lambda A: magnitudes(linalg.svd(A.mH, method="original")), singular_apart),
}  # fmt: skip
FAST = ("polar", "eigh pade")
KINDS = [
    pytest.param(name, dtype, id=f"{name}-{'complex' if dtype == COMPLEX else 'real'}",
                 marks=() if name in FAST and dtype == REAL else pytest.mark.slow)
    for name, case in CASES.items()
    for dtype in ((REAL,) if case.real_only else (REAL, COMPLEX))
]  # fmt: skip


@pytest.fixture
def fresh_dynamo() -> Iterator[None]:
    torch._dynamo.reset()
    yield
    torch._dynamo.reset()


@pytest.mark.parametrize(("name", "dtype"), KINDS)
def test_first_and_second_derivatives_in_both_modes(name, dtype):
    case = CASES[name]
    A = case.tied(dtype).requires_grad_()
    assert gradcheck(case.function, A, check_forward_ad=True, check_batched_grad=True)
    assert gradgradcheck(case.function, A, check_fwd_over_rev=True, check_rev_over_rev=True)


@pytest.mark.parametrize("name", slow_unless(("polar", "eigenprojector", "eigh pade", "svd wide"), CASES))
def test_torch_func(name):
    """vmap of it and of its gradient, jacrev and jacfwd, and the Hessian in the three orders that torch has right."""
    case = CASES[name]
    A = torch.stack([case.tied(REAL), case.tied(REAL) + 0.1 * noise(*case.tied(REAL).shape)])
    if case.square and name != "nearest_rotation":
        A = (A + A.mT) / 2
    weights = noise(*case.function(A[0]).shape)

    def loss(A: Tensor) -> Tensor:
        return (case.function(A) ** 2 * weights).sum()

    one = torch.stack([case.function(matrix) for matrix in A])
    torch.testing.assert_close(torch.func.vmap(case.function)(A), one, rtol=1e-13, atol=1e-14)
    grads = torch.stack([torch.autograd.functional.jacobian(loss, matrix) for matrix in A])
    torch.testing.assert_close(torch.func.vmap(torch.func.grad(loss))(A), grads, rtol=1e-12, atol=1e-13)
    jacrev, jacfwd = torch.func.jacrev, torch.func.jacfwd
    torch.testing.assert_close(jacrev(case.function)(A[0]), jacfwd(case.function)(A[0]), rtol=1e-11, atol=1e-12)
    expected = torch.autograd.functional.hessian(loss, A[0])
    for found in (torch.func.hessian(loss), jacrev(jacfwd(loss)), jacrev(jacrev(loss))):
        torch.testing.assert_close(found(A[0]), expected, rtol=1e-10, atol=1e-11)
    with pytest.raises(DerivativeError, match="inside forward mode"):
        jacfwd(jacfwd(loss))(A[0])


@pytest.mark.parametrize(
    "name",
    slow_unless(("smallest_eigenvector",), ("polar", "nearest_rotation", "eigenprojector", "smallest_eigenvector")),
)
def test_third_derivatives(name):
    """Functions without a gauge have them all: against differences of the Hessian."""
    case = CASES[name]
    A = case.tied(REAL)
    weights = noise(*case.function(A).shape)

    def loss(A: Tensor) -> Tensor:
        return (case.function(A) ** 2 * weights).sum()

    direction = noise(*A.shape, seed=5)
    third = (torch.func.jacrev(torch.func.hessian(loss))(A) * direction).sum((-1, -2))
    step = 1e-5
    ahead, behind = (torch.func.hessian(loss)(A + sign * step * direction) for sign in (1, -1))
    torch.testing.assert_close(third, (ahead - behind) / (2 * step), rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("method", [name for name in VECTORS if name not in ("pade", "original")])
def test_methods_that_are_no_derivative_have_no_second(method):
    A = apart(REAL).requires_grad_()
    for function in (lambda A: linalg.eigh(A, method=method)[1], lambda A: linalg.svd(A, method=method)[0]):
        (grad,) = torch.autograd.grad((function(A) ** 3).sum(), A, create_graph=True)
        with pytest.raises(DerivativeError, match=rf"'{method}'.*'pade'"):
            grad.sum().backward()

        def loss(A: Tensor, function: Callable[[Tensor], Tensor] = function) -> Tensor:
            return (function(A) ** 3).sum()

        jacrev, jacfwd = torch.func.jacrev, torch.func.jacfwd
        for asked in (jacrev(jacrev(loss)), torch.func.hessian(loss), jacrev(jacfwd(loss))):
            with pytest.raises(DerivativeError, match=method):
                asked(A.detach())
        # The first is one and the same linear map in both modes.
        torch.testing.assert_close(jacfwd(function)(A.detach()), jacrev(function)(A.detach()), rtol=1e-12, atol=1e-13)


COMPILED = {
    **{name: case.function for name, case in CASES.items()},
    **{f"eigh {name}": lambda A, name=name: magnitudes(linalg.eigh(A @ A.mT, method=name)) for name in VECTORS},
    **{f"svd {name}": lambda A, name=name: magnitudes(linalg.svd(A, method=name)) for name in VECTORS},
    "pca": lambda A: magnitudes(linalg.pca(A, 2)),
    "singular_function": lambda A: linalg.singular_function(A, "power", alpha=0.5),
}  # fmt: skip


@pytest.mark.usefixtures("fresh_dynamo")
@pytest.mark.parametrize(
    ("name", "dynamic"), slow_unless((("polar", True),), itertools.product(COMPILED, (False, True)))
)
def test_compiled(name, dynamic):
    """In one graph, forward and backward, sizes that vary included."""
    function = COMPILED[name]
    compiled = torch.compile(function, fullgraph=True, dynamic=dynamic, backend="aot_eager")
    for size in (4, 5) if dynamic else (4,):
        ours, theirs = (noise(2, size, size, seed=size).requires_grad_() for _ in range(2))
        found, expected = compiled(ours), function(theirs)
        torch.testing.assert_close(found, expected, rtol=1e-12, atol=1e-13)
        (found**3).sum().backward()
        (expected**3).sum().backward()
        torch.testing.assert_close(ours.grad, theirs.grad, rtol=1e-10, atol=1e-11)


@pytest.mark.parametrize("name", slow_unless(("eigenprojector",), COMPILED))
def test_exported(name):
    class Layer(nn.Module):
        def forward(self, A: Tensor) -> Tensor:
            return COMPILED[name](A)

    A = noise(2, 4, 4)
    program = torch.export.export(Layer(), (A,))
    torch.testing.assert_close(program.module()(A), COMPILED[name](A), rtol=1e-12, atol=1e-13)
