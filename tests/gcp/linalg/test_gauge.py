"""The gauge check: said where a loss has no gradient, silent where it has one."""

from __future__ import annotations

import warnings

import pytest
import torch
from torch import Tensor

import gcp
from gcp.errors import GaugeError, GaugeWarning, OptionError
from gcp.methods.table import VECTORS
from tests.gcp.linalg.matrices import COMPLEX, REAL, noise, with_eigenvalues, with_singular_values
from tests.slow import slow_unless

PAIRS = [2.0, 2.0, 0.5, 0.5]


def eigh_loss(kind: str, A: Tensor, **options: object) -> Tensor:
    eigenvalues, U = gcp.linalg.eigh(A, **options)
    if kind == "single vectors":
        return (U.abs() ** 4).sum()
    if kind == "unequal slopes":
        return eigenvalues[0] * 2 + eigenvalues[1]
    if kind == "function":  # assembled, f' acts on what no vector carries
        return (((U * eigenvalues.abs().sqrt().unsqueeze(-2)) @ U.mH).abs() ** 2 * noise(4, 4)).sum()
    P = U[:, 2:] @ U[:, 2:].mH
    return (P.real**2 * noise(4, 4)).sum() + eigenvalues[2:].sum() ** 3


@pytest.mark.parametrize("dtype", [REAL, COMPLEX], ids=str)
@pytest.mark.parametrize("method", slow_unless(("taylor", "topn"), VECTORS))
@pytest.mark.parametrize("kind", ["single vectors", "unequal slopes", "function"])
def test_a_loss_without_gradient_is_said(kind, method, dtype):
    A = torch.stack([with_eigenvalues([3.0, 2.0, 1.0, -1.0], dtype), with_eigenvalues(PAIRS, dtype)]).requires_grad_()

    def loss(**options: object) -> Tensor:
        return sum(eigh_loss(kind, matrix, method=method, **options) for matrix in A)

    with pytest.warns(GaugeWarning, match=r"eigenprojector.*spectral_function.*gauge='ignore'"):
        loss().backward()
    assert A.grad.isfinite().all()
    eigenvalues, U = gcp.linalg.eigh(A, method=method, gauge="raise")
    with pytest.raises(GaugeError, match=r"matrix 1$") as caught:
        ((U.abs() ** 4).sum() + (eigenvalues * noise(4)).sum()).backward()
    assert caught.value.samples == (1,)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        loss(gauge="ignore").backward()


@pytest.mark.parametrize("values", [PAIRS, [1.0] * 4, [0.0] * 4, [3.0, 1.0, 2.0, -0.5]], ids=str)
@pytest.mark.parametrize("dtype", [torch.float32, REAL, COMPLEX], ids=str)
def test_a_loss_with_one_is_not(dtype, values):
    A = with_eigenvalues(values, COMPLEX if dtype == COMPLEX else REAL).to(dtype).requires_grad_()
    for method in VECTORS:
        eigenvalues, U = gcp.linalg.eigh(A, method=method, gauge="raise")
        split = 2 if values == PAIRS else 0
        P = U[:, split:] @ U[:, split:].mH
        (eigenvalues[split:].sum() ** 2 + (P.abs() ** 2 * noise(4, 4).to(eigenvalues.dtype)).sum()).backward()
        U, S, Vh = gcp.linalg.svd(A, method=method, gauge="raise")
        if max(values):
            ((U @ Vh).abs() ** 2 * noise(4, 4).to(S.dtype)).sum().backward()


def test_the_phase_of_a_complex_vector():
    """A loss may not depend on it, apart or not."""
    A = with_eigenvalues([3.0, 2.0, 1.0, -1.0], COMPLEX).requires_grad_()
    with pytest.raises(GaugeError):
        gcp.linalg.eigh(A, gauge="raise").eigenvectors.real.sum().backward()
    with pytest.raises(GaugeError):
        gcp.linalg.svd(A, gauge="raise").U.imag.sum().backward()


def test_null_singular_vectors():
    """Each side of a null space may be turned on its own, so that U V^T is arbitrary though s are equal."""
    A = with_singular_values([2.0, 0.0, 0.0], (3, 3)).requires_grad_()
    U, _, Vh = gcp.linalg.svd(A, gauge="raise")
    with pytest.raises(GaugeError, match="polar"):
        ((U @ Vh) * noise(3, 3)).sum().backward()
    Q = gcp.linalg.svd(A, gauge="raise")
    ((Q.U[:, :1] @ Q.Vh[:1]) * noise(3, 3)).sum().backward()


def test_second_derivatives_of_equal_eigenvalues_are_not_silent():
    """The Hessian of sum h(lam) has h'' between equal eigenvalues, which eigenvectors cannot carry."""
    A = with_eigenvalues(PAIRS).requires_grad_()
    (grad,) = torch.autograd.grad(gcp.linalg.eigvalsh(A).pow(3).sum(), A, create_graph=True)
    with pytest.warns(GaugeWarning):
        (grad * noise(4, 4)).sum().backward()


def test_components_that_cut_through_an_eigenspace():
    from tests.gcp.helpers import with_spectrum

    x = with_spectrum(PAIRS, 7)[0][:, :, 0].requires_grad_()
    _, components = gcp.linalg.pca(x, 3, gauge="raise")
    with pytest.raises(GaugeError, match="eigenprojector"):
        ((components @ components.mT) * noise(4, 4)).sum().backward()


def test_under_vmap_and_in_compiled_programs():
    A = torch.stack([with_eigenvalues([3.0, 2.0, 1.0, -1.0]), with_eigenvalues(PAIRS)])
    with pytest.raises(GaugeError):
        torch.func.vmap(torch.func.grad(lambda A: (gcp.linalg.eigh(A, gauge="raise")[1] ** 4).sum()))(A)
    with pytest.raises(GaugeError):
        torch.func.jacrev(lambda A: gcp.linalg.eigh(A, gauge="raise")[1] ** 2)(A)


def test_the_option():
    with pytest.raises(
        OptionError, match=r"gauge must be one of warn, raise, ignore, got 'rais' \(did you mean 'raise'"
    ):
        gcp.linalg.svd(torch.eye(2), gauge="rais")
