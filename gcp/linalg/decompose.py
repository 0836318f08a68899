"""Eigenpairs and singular triplets of any batch of matrices, as numbers without history; checked, and tried again.

Two custom operators, opaque to torch.compile and vmap. An exported program has torch's plain decompositions.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from gcp.dtypes import COMPLEX
from gcp.errors import OptionError, OptionTypeError, ShapeError
from gcp.features import at_least_float32, check_numbers
from gcp.operators import define_operator
from gcp.registry import nearest
from gcp.spectral import lapack
from gcp.spectral.nonfinite import finite_samples
from gcp.spectral.spectral_options import PRECISIONS

Triplets = tuple[Tensor, Tensor, Tensor]


def check_matrices(A: Tensor, square: bool = False) -> None:
    """Raise DtypeError or ShapeError unless ``A`` is a real or complex tensor (..., m, n), with m = n if ``square``.

    >>> check_matrices(torch.rand(2, 3), square=True)
    Traceback (most recent call last):
    gcp.errors.ShapeError: A must be (..., n, n), got shape (2, 3)
    """
    check_numbers(A, "A")
    if A.dim() < 2 or (square and A.shape[-1] != A.shape[-2]):
        raise ShapeError(f"A must be {'(..., n, n)' if square else '(..., m, n)'}, got shape {tuple(A.shape)}")


def check_flag(value: object, what: str) -> None:
    """Raise OptionTypeError unless ``value`` is True or False: a word, meant for another argument, would count as true.

    >>> check_flag("pade", "full_matrices")
    Traceback (most recent call last):
    gcp.errors.OptionTypeError: full_matrices must be True or False, got 'pade'
    """
    if not isinstance(value, bool):
        raise OptionTypeError(f"{what} must be True or False, got {value!r}")


def working_dtype(dtype: torch.dtype, precision: str) -> torch.dtype:
    """What matrices of ``dtype`` are decomposed in; precision as in `SpectralOptions`.

    >>> working_dtype(torch.complex64, "mixed")
    torch.complex128
    """
    if precision not in PRECISIONS:
        wanted = nearest(str(precision), PRECISIONS)
        raise OptionError(f"precision must be one of {', '.join(PRECISIONS)}, got {precision!r}{wanted}")
    real = torch.float32 if precision == "float32" else torch.float64
    return COMPLEX[real] if dtype.is_complex else real


def product_dtype(dtype: torch.dtype, precision: str) -> torch.dtype:
    """What eigenvectors of matrices of ``dtype`` are multiplied in.

    >>> product_dtype(torch.float16, "mixed"), product_dtype(torch.float16, "float64")
    (torch.float32, torch.float64)
    """
    return at_least_float32(dtype) if precision == "mixed" else working_dtype(dtype, precision)


def eigenpairs(A: Tensor, precision: str = "mixed") -> tuple[Tensor, Tensor]:
    """Eigenvalues (..., n), ascending, and eigenvectors (..., n, n) of the Hermitian matrices of A's lower triangles.

    Eigenvalues are in the dtype that is decomposed in, eigenvectors in that of the products. Neither has a history.

    Raises:
        NonFiniteError: NaN or infinity in a matrix; names it.
        DecompositionError: one that does not converge in any way.

    >>> eigenpairs(torch.diag(torch.tensor([3.0, 1.0])))[0]
    tensor([1., 3.], dtype=torch.float64)
    """
    matrix = A.detach().to(working_dtype(A.dtype, precision))
    if torch.compiler.is_exporting():
        eigenvalues, vectors = torch.linalg.eigh(matrix)
    else:
        eigenvalues, vectors = torch.ops.gcp.eigenpairs_of(matrix)
    return eigenvalues, vectors.to(product_dtype(A.dtype, precision))


def singular_triplets(A: Tensor, precision: str = "mixed", full_matrices: bool = False) -> Triplets:
    """U (..., m, k), singular values (..., k), descending, and V (..., n, k) of A (..., m, n), k = min(m, n).

    Dtypes and errors as `eigenpairs`. With ``full_matrices`` U is (..., m, m) and V (..., n, n).

    >>> singular_triplets(torch.ones(2, 8))[1].round(decimals=6) + 0.0
    tensor([4., 0.], dtype=torch.float64)
    """
    matrix = A.detach().to(working_dtype(A.dtype, precision))
    if torch.compiler.is_exporting():
        U, values, Vh = torch.linalg.svd(matrix, full_matrices=full_matrices)
        V = Vh.mH
    else:
        U, values, V = torch.ops.gcp.singular_triplets_of(matrix, full_matrices)
    products = product_dtype(A.dtype, precision)
    return U.to(products), values, V.to(products)


def _eigenpairs(matrix: Tensor) -> tuple[Tensor, Tensor]:
    if not matrix.numel():
        return _no_eigenpairs(matrix)
    eigenvalues, vectors = lapack.eigh(_checked(matrix))
    return _owned(eigenvalues, matrix.shape[:-1]), _owned(vectors, matrix.shape)


def _no_eigenpairs(matrix: Tensor) -> tuple[Tensor, Tensor]:
    return matrix.new_empty(matrix.shape[:-1], dtype=matrix.dtype.to_real()), matrix.new_empty(matrix.shape)


def _eigenpairs_vmap(info: Any, in_dims: tuple[int | None], matrix: Tensor) -> tuple[tuple[Tensor, ...], Any]:
    assert in_dims[0] is not None
    return torch.ops.gcp.eigenpairs_of(matrix.movedim(in_dims[0], 0)), (0, 0)


def _singular_triplets(matrix: Tensor, full_matrices: bool) -> Triplets:
    if not matrix.numel():
        U, values, V = _no_triplets(matrix, full_matrices)
        for side in (U, V):  # of no rows or no columns: the basis of what is left
            side.copy_(torch.eye(*side.shape[-2:], dtype=side.dtype, device=side.device))
        return U, values, V
    values, U, Vh = lapack.svd(_checked(matrix), full_matrices)
    shape, V = matrix.shape[:-2], Vh.mH.resolve_conj()
    return _owned(U, (*shape, *U.shape[-2:])), _owned(values, (*shape, -1)), _owned(V, (*shape, *V.shape[-2:]))


def _no_triplets(matrix: Tensor, full_matrices: bool) -> Triplets:
    rows, columns = matrix.shape[-2:]
    k = min(rows, columns)
    U, V = (matrix.new_empty((*matrix.shape[:-2], size, size if full_matrices else k)) for size in (rows, columns))
    return U, matrix.new_empty((*matrix.shape[:-2], k), dtype=matrix.dtype.to_real()), V


def _triplets_vmap(
    info: Any, in_dims: tuple[int | None, ...], matrix: Tensor, full_matrices: bool
) -> tuple[Triplets, tuple[int, int, int]]:
    assert in_dims[0] is not None
    return torch.ops.gcp.singular_triplets_of(matrix.movedim(in_dims[0], 0), full_matrices), (0, 0, 0)


def _checked(matrix: Tensor) -> Tensor:
    batch = matrix.reshape(-1, *matrix.shape[-2:])
    finite_samples(torch.view_as_real(batch).flatten(-2) if batch.is_complex() else batch, zero=False, what="matrix")
    return batch


def _owned(part: Tensor, shape: Sequence[int]) -> Tensor:
    # No view, which forward mode could not give a tangent of another layout; and laid out as the compiler is told.
    return part.reshape(shape).clone(memory_format=torch.contiguous_format)


define_operator("eigenpairs_of(Tensor matrix) -> (Tensor, Tensor)", _eigenpairs, _no_eigenpairs, _eigenpairs_vmap)
define_operator(
    "singular_triplets_of(Tensor matrix, bool full_matrices) -> (Tensor, Tensor, Tensor)",
    _singular_triplets,
    _no_triplets,
    _triplets_vmap,
)
