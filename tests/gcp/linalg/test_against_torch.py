"""eigh and svd where torch.linalg's are right: apart values, every shape, real and complex, empty, in every type."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

import gcp
from gcp.methods.table import VECTORS
from tests.gcp.linalg.matrices import COMPLEX, REAL, noise, unitary

DTYPES = [pytest.param(REAL, id="real"), pytest.param(COMPLEX, id="complex")]
EXACT = ("pade", "original")


def apart(shape: tuple[int, ...], dtype: torch.dtype) -> Tensor:
    """Singular values 1, 2, ..., so that nothing is amplified and 1e-13 means something."""
    m, n = shape[-2:]
    k = min(m, n)
    batch = []
    for sample in range(shape[0] if len(shape) == 3 else 1):
        U, V = unitary(m, dtype, 2 * sample)[:, :k], unitary(n, dtype, 2 * sample + 1)[:, :k]
        batch.append((U * torch.arange(1, k + 1, dtype=REAL)) @ V.mH)
    return torch.stack(batch).reshape(shape)


def hermitian(n: int, dtype: torch.dtype) -> Tensor:
    U = torch.stack([unitary(n, dtype, sample) for sample in range(2)])
    A = (U * (torch.arange(n, dtype=REAL) - 1.3)) @ U.mH
    return (A + A.mH) / 2


def invariant(values: Tensor, *sides: Tensor) -> Tensor:
    """A loss that depends on neither signs nor phases: of values and magnitudes, and of pairs of vectors."""
    total = (values**3).sum()
    for number, side in enumerate(sides):
        total = total + (side.abs() ** 3 * noise(*side.shape, seed=number)).sum()
    return total


def close(found: Tensor, expected: Tensor) -> None:
    assert found.dtype == expected.dtype
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-13 * float(expected.detach().abs().max()))


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("UPLO", ["L", "U"])
@pytest.mark.parametrize("method", EXACT)
def test_eigh(method, UPLO, dtype):
    """Only one triangle is read, whatever stands in the other."""
    A = hermitian(5, dtype)
    read = A.tril() if UPLO == "L" else A.triu()
    other = torch.ones(5, 5, dtype=torch.bool).triu(1)
    ours, theirs = read.masked_fill(other if UPLO == "L" else other.mT, torch.nan), read.clone()
    ours.requires_grad_(), theirs.requires_grad_()
    found, expected = gcp.linalg.eigh(ours, UPLO, method), torch.linalg.eigh(theirs, UPLO)
    close(found.eigenvalues, expected.eigenvalues)
    close(found.eigenvectors.abs(), expected.eigenvectors.abs())
    for pair in (found, expected):
        f = (pair.eigenvectors * pair.eigenvalues.sin().unsqueeze(-2)) @ pair.eigenvectors.mH
        (invariant(*pair) + (f.real**2 * noise(5, 5, seed=9)).sum()).backward()
    close(ours.grad, theirs.grad)
    close(gcp.linalg.eigvalsh(ours, UPLO), torch.linalg.eigvalsh(theirs, UPLO))


@pytest.mark.parametrize("method", [name for name in VECTORS if name != "topn"])
def test_eigenvalues_of_opposite_signs_are_apart(method):
    """As those of bipartite graphs: series in the ratio of two, -1, would not converge."""
    A = torch.tensor([[0.0, 1.0, 0.0], [1.0, 0.0, 2.0], [0.0, 2.0, 0.0]], dtype=REAL)
    ours, theirs = A.clone().requires_grad_(), A.clone().requires_grad_()
    for pair in (gcp.linalg.eigh(ours, method=method), torch.linalg.eigh(theirs)):
        ((pair.eigenvectors.abs() ** 3)[:, [0, 2]] * noise(3, 2)).sum().backward()
    # lorentz at a relative gap of 1 is off by the square of its width.
    torch.testing.assert_close(ours.grad, theirs.grad, rtol=0, atol=1e-11 if method == "lorentz" else 1e-13)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("shape", [(4, 4), (2, 6, 4), (2, 4, 6), (1, 4), (4, 1), (2, 1, 1)], ids=str)
@pytest.mark.parametrize("method", EXACT)
def test_svd(method, shape, dtype):
    ours, theirs = (apart(shape, dtype).requires_grad_() for _ in range(2))
    found, expected = gcp.linalg.svd(ours, method=method), torch.linalg.svd(theirs, full_matrices=False)
    for mine, other in zip(found, expected, strict=True):
        assert mine.shape == other.shape
        close(mine.abs(), other.abs())
    for U, S, Vh in (found, expected):
        f = (U * S.sin().unsqueeze(-2)) @ Vh
        (invariant(S, U, Vh) + (f.real**2 * noise(*f.shape, seed=9)).sum()).backward()
    close(ours.grad, theirs.grad)
    close(gcp.linalg.svdvals(ours), torch.linalg.svdvals(theirs))


@pytest.mark.parametrize("shape", [(0, 3, 3), (2, 0, 0), (2, 0, 3), (2, 3, 0), (0, 2, 0)], ids=str)
@pytest.mark.parametrize("full_matrices", [False, True])
def test_empty(shape, full_matrices):
    A = torch.zeros(shape, requires_grad=True)
    expected = torch.linalg.svd(A, full_matrices)
    found = gcp.linalg.svd(A, full_matrices)
    assert [part.shape for part in found] == [part.shape for part in expected]
    assert torch.equal(found.U, expected.U)
    assert torch.equal(found.Vh, expected.Vh)
    if not full_matrices:
        found.S.sum().backward()
    assert gcp.linalg.svdvals(A).shape == expected.S.shape
    if shape[-1] == shape[-2]:
        pair = gcp.linalg.eigh(A)
        assert [part.shape for part in pair] == [part.shape for part in torch.linalg.eigh(A)]
        pair.eigenvectors.sum().backward()
        assert A.grad.shape == shape
        assert gcp.linalg.eigenprojector(A, 0).shape == shape
    for function in (gcp.linalg.polar, lambda A: gcp.linalg.procrustes(A, rotation=False)):
        if shape[-2] >= shape[-1]:
            assert function(A).shape == shape


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32, torch.complex64], ids=str)
def test_results_have_the_type_of_their_input(dtype):
    """Half types are computed in float32 at least: the error is that of storing alone."""
    A = apart((4, 3), COMPLEX if dtype.is_complex else REAL)
    low = A.to(dtype).requires_grad_()
    square = (A.mH @ A).to(dtype)
    real = torch.float32 if dtype.is_complex else dtype
    U, S, Vh = gcp.linalg.svd(low, method="pade")
    assert (U.dtype, S.dtype, Vh.dtype) == (dtype, real, dtype)
    ((U * S.to(dtype)) @ Vh).abs().sum().backward()
    assert low.grad.dtype == dtype
    torch.testing.assert_close(
        S.double(), torch.linalg.svdvals(low.detach().to(A.dtype)), rtol=torch.finfo(dtype).eps, atol=0
    )
    assert [part.dtype for part in gcp.linalg.eigh(square)] == [real, dtype]
    for function in (
        gcp.linalg.polar, lambda A: gcp.linalg.procrustes(A, rotation=False),
        lambda A: gcp.linalg.singular_function(A, "sqrt"), lambda A: gcp.linalg.eigenprojector(A.mH @ A, 1),
        lambda A: gcp.linalg.smallest_eigenvector(A.mH @ A),
    ):  # fmt: skip
        assert function(low).dtype == dtype


def test_full_matrices():
    A = apart((4, 2), REAL).requires_grad_()
    found = gcp.linalg.svd(A, full_matrices=True)
    assert found.U.shape == (4, 4)
    torch.testing.assert_close(found.U @ found.U.mT, torch.eye(4, dtype=REAL))
    with pytest.raises(gcp.errors.DerivativeError, match="full_matrices=False"):
        found.S.sum().backward()
    square = apart((3, 3), REAL).requires_grad_()
    gcp.linalg.svd(square, full_matrices=True).S.sum().backward()
    assert square.grad is not None


@pytest.mark.parametrize("method", VECTORS)
def test_one_sample_never_influences_another(method):
    A = hermitian(4, REAL)
    options = {"n": 2} if method == "topn" else {}

    def gradient(batch: Tensor) -> tuple[Tensor, Tensor]:
        x = batch.clone().requires_grad_()
        pair, triple = gcp.linalg.eigh(x, method=method, **options), gcp.linalg.svd(x, method=method, **options)
        (invariant(*pair) + invariant(triple.S, triple.U)).backward()
        return pair.eigenvalues.detach(), x.grad

    for neighbour in (1e12, 1e-12, 0.0):
        both, alone = gradient(torch.stack([A[0], A[1] * neighbour])), gradient(torch.stack([A[0], A[0]]))
        assert all(torch.equal(one[0], other[0]) for one, other in zip(both, alone, strict=True))


@pytest.mark.parametrize("method", [name for name in VECTORS if name != "trunc"])
def test_powers_of_two_scale_without_rounding(method):
    """trunc has an absolute limit. Values scale, vectors stay, the gradient of a loss of vectors scales inversely."""
    A = hermitian(4, REAL)
    results = []
    for factor in (1.0, 2.0**-100, 2.0**99):
        x = (A * factor).requires_grad_()
        eigenvalues, vectors = gcp.linalg.eigh(x, method=method)
        (vectors.abs() ** 3).sum().backward()
        U, S, _ = gcp.linalg.svd(x, method=method)
        results.append((eigenvalues / factor, vectors, x.grad * factor, U, S / factor))
    assert all(torch.equal(one, other) for result in results[1:] for one, other in zip(result, results[0], strict=True))
