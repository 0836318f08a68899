"""What rounding leaves where exact numbers would be 0: the one home of every floor below which a value counts as 0."""

from __future__ import annotations

import math

import torch
from torch import Tensor


def mean_rounding(mean: Tensor) -> Tensor:
    """What the rounding of a mean over positions (B, C, 1) may add to every position, as a length over C: (B, 1).

    The mean is off by a few units in its last place.

    >>> mean_rounding(torch.ones(1, 4, 1)).log2()
    tensor([[-19.]])
    """
    size: Tensor = torch.linalg.vector_norm(mean, dim=-2)
    return 8 * torch.finfo(mean.dtype).eps * size


def rounding_floor(descending: Tensor, channels: int, positions: int) -> Tensor:
    """Rounding of a decomposition, (B, 1): relative to each matrix's own largest value, so that scale is no matter.

    >>> rounding_floor(torch.tensor([[4.0, 1.0]]), channels=2, positions=8).log2()
    tensor([[-18.]])
    """
    largest = descending[..., :1].abs()
    return torch.finfo(descending.dtype).eps * max(channels, positions) * largest


def gap_floor(values: Tensor, size: int, roundoff: float) -> Tensor:
    """Gap up to which two eigenvalues of one matrix may be the rounding of one, (..., 1), from all of them (..., n).

    Of a matrix, unlike one of its own making, a decomposition does not know how it came about: sums of products, and
    storing, move eigenvalues by a few units of roundoff of the largest.

    Args:
        values: eigenvalues or singular values, in the dtype they were computed in.
        size: the larger side of the matrix.
        roundoff: of the dtype the matrix came in; single precision's at most, so that half types keep their gaps.

    >>> gap_floor(torch.tensor([4.0, -1.0]), 2, roundoff=2**-10).log2()
    tensor([-17.])
    """
    largest = torch.nn.functional.pad(values.abs(), (0, 1)).amax(-1, keepdim=True)  # 0 where there are no eigenvalues
    single = torch.finfo(torch.float32).eps
    return max(max(size, 16) * torch.finfo(values.dtype).eps, 8 * min(roundoff, single)) * largest


def negative_rounding(size: int, eps: float, factorisation: float = 0.0) -> float:
    """How far below 0 rounding may take a null eigenvalue of a matrix (size, size), in units of the largest one.

    Sums of products round a few times more than `null_floor` allows for. The cap keeps half precision honest.

    Args:
        size: n.
        eps: unit roundoff of the dtype the matrix came in.
        factorisation: what a factorisation adds, in units of eps.

    >>> negative_rounding(4, 2**-23) / 2**-23, negative_rounding(4, 2**-7)
    (32.0, 0.1)
    """
    return min((16 * math.sqrt(size) + factorisation) * eps, 0.1)


def null_floor(eigenvalues: Tensor, eps: float) -> Tensor:
    """Magnitude up to which an eigenvalue may be the rounding of a null one, (B, 1), from all of them (B, n).

    n eps |lam|_max covers sums of products, which are made in float32 at least, and storing them; storing in half
    precision changes each entry by eps, the matrix by eps |P|_F at most.

    >>> bool(null_floor(torch.tensor([[1.0, 1e-8]]), eps=2**-23) > 1e-8)
    True
    """
    largest = eigenvalues.abs().amax(-1, keepdim=True)
    summed = eigenvalues.shape[-1] * min(eps, torch.finfo(torch.float32).eps) * largest
    relative = eigenvalues / torch.where(largest == 0, 1, largest)
    return summed.maximum(eps * largest * torch.linalg.vector_norm(relative, dim=-1, keepdim=True))
