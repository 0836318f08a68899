"""Projectors onto eigenspaces, and single eigenvectors by way of them."""

from __future__ import annotations

import torch
from torch import Tensor

from gcp.autograd import without_autocast
from gcp.errors import OptionError
from gcp.features import eye_like, symmetric
from gcp.linalg.decompose import check_flag, check_matrices, eigenpairs
from gcp.linalg.polar import Factors, polar_factor
from gcp.rounding import rounding_floor
from gcp.scaling import exact_unit


def eigenprojector(A: Tensor, k: int, largest: bool = True, *, precision: str = "mixed") -> Tensor:
    """The orthogonal projector onto the eigenvectors of the k largest (or smallest) eigenvalues of a Hermitian matrix.

    It depends on the eigenspace alone, not on its basis; its derivatives, of any order, on the gap between the k-th and
    the next eigenvalue alone, whatever is equal on either side. Where that gap is rounding the projector is not unique:
    it is one of them, and nothing flows across the gap.

    It is (1 + sign(A - mu))/2 with mu in the gap, and the sign of a Hermitian matrix is its polar factor.

    Args:
        A: (..., n, n), real or complex, any floating dtype; its Hermitian part is taken.
        k: number of eigenvalues, 0 to n.
        largest: by value, not by magnitude.
        precision: as in `gcp.linalg.singular_function`.

    Returns:
        (..., n, n), Hermitian, of rank k, in the dtype of ``A``.

    Raises:
        As `gcp.linalg.polar`; OptionError for k out of range.

    >>> eigenprojector(torch.diag(torch.tensor([4.0, 1.0, 4.0])), 2)
    tensor([[1., 0., 0.],
            [0., 0., 0.],
            [0., 0., 1.]])
    """
    check_matrices(A, square=True)
    check_flag(largest, "largest")
    n = A.shape[-1]
    if not isinstance(k, int) or isinstance(k, bool) or not 0 <= k <= n:
        raise OptionError(f"k must be 0 to {n}, the size of the matrices, got {k!r}")
    if not A.numel():
        return A.clone()
    split = n - k if largest else k  # eigenvalues below the gap
    if split in (0, n):
        return (eye_like(A) if k else torch.zeros_like(A)) + 0 * symmetric(A)
    with without_autocast(A):
        return _between(symmetric(A / exact_unit(A)), split, largest, precision)


def _between(A: Tensor, split: int, largest: bool, precision: str) -> Tensor:
    n = A.shape[-1]
    eigenvalues, U = eigenpairs(A, precision)
    middle = (eigenvalues[..., split - 1 : split] + eigenvalues[..., split : split + 1]) / 2
    floor = rounding_floor(eigenvalues.abs().amax(-1, keepdim=True), n, n)
    below = torch.arange(n, device=A.device) < split
    sign = torch.where(below, -1.0, 1.0).to(U.dtype)
    s = (eigenvalues - middle).abs()
    reflection = polar_factor(A - middle.unsqueeze(-1).to(A.dtype) * eye_like(A), Factors(U * sign, s, U, floor, True))
    identity = eye_like(A)
    return (identity + reflection if largest else identity - reflection) / 2


def smallest_eigenvector(A: Tensor, *, precision: str = "mixed") -> Tensor:
    """The eigenvector of the smallest eigenvalue of a Hermitian matrix, as in DLT and PnP: v of the projector v v^H.

    Its sign (phase) is fixed so that its entry of largest magnitude, the first of those, is positive; where another
    entry becomes the largest the sign may jump. Derivatives of any order are exact, whatever the other eigenvalues; a
    smallest eigenvalue that is not alone has no single eigenvector, see `eigenprojector`.

    Args:
        A: (..., n, n), real or complex, any floating dtype; its Hermitian part is taken. n >= 1.
        precision: as in `gcp.linalg.singular_function`.

    Returns:
        (..., n), of length 1, in the dtype of ``A``.

    Raises:
        As `eigenprojector`.

    >>> smallest_eigenvector(torch.diag(torch.tensor([4.0, 1.0, 4.0])))
    tensor([0., 1., 0.])
    """
    check_matrices(A, square=True)
    if A.shape[-1] == 0:
        raise OptionError("matrices of no rows have no eigenvectors")
    P = eigenprojector(A, 1, largest=False, precision=precision)
    if not P.numel():
        return P[..., 0]
    weights = P.diagonal(dim1=-2, dim2=-1).real
    # Not by autograd's argmax of equals: eigenvectors like (1, -1) have two, and rounding decides between them.
    nearly = weights >= weights.amax(-1, keepdim=True) * (1 - P.shape[-1] * torch.finfo(P.dtype).eps ** 0.75)
    index = nearly.to(torch.uint8).argmax(-1, keepdim=True)
    column = P.gather(-1, index.unsqueeze(-2).expand(*P.shape[:-1], 1)).squeeze(-1)
    return column / weights.gather(-1, index).sqrt()
