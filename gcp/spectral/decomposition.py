"""Thin singular value decomposition of centred features, by the cheapest exact route."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from gcp.kernels.loewner import Spectrum
from gcp.spectral.maps import SpectralMap
from gcp.spectral.parallel import map_batch


class Factors(NamedTuple):
    """Xc = U diag(sqrt lam) V^T, so that Xc Xc^T = U diag(lam) U^T; n = min(C, N).

    Attributes:
        U: (B, C, n) eigenvectors of the covariance; columns of null eigenvalues are 0.
        eigenvalues: (B, n), descending, null ones exactly 0.
        V: (B, N, n) eigenvectors of the Gram matrix; columns of null eigenvalues are 0.
    """

    U: Tensor
    eigenvalues: Tensor
    V: Tensor


def factorise(centred: Tensor, squared: bool) -> Factors:
    """Decompose centred, scaled features.

    Eigenvalues at or below a floor relative to the largest one of the same matrix are null, and set to 0.

    Args:
        centred: (B, C, N) in the dtype to decompose in.
        squared: decompose the smaller of the Gram matrix Xc^T Xc and the covariance Xc Xc^T, which in float64 is
            accurate enough and fast; else decompose Xc itself, which float32 needs.
    """
    channels, positions = centred.shape[-2:]
    if not squared:
        U, roots, Vh = map_batch(_thin_svd, centred)
        present = roots > _floor(roots, channels, positions)
        mask = present.unsqueeze(-2)
        return Factors(U * mask, torch.where(present, roots**2, 0), Vh.mT * mask)
    gram = positions < channels
    matrix = centred.mT @ centred if gram else centred @ centred.mT
    eigenvalues, vectors = map_batch(torch.linalg.eigh, matrix)
    eigenvalues, vectors = eigenvalues.flip(-1), vectors.flip(-1)
    present = eigenvalues > _floor(eigenvalues, channels, positions)
    eigenvalues = torch.where(present, eigenvalues, 0)
    vectors = vectors * present.unsqueeze(-2)
    inverse_root = torch.where(present, eigenvalues, torch.inf).rsqrt().unsqueeze(-2)
    if gram:
        return Factors(centred @ vectors * inverse_root, eigenvalues, vectors)
    return Factors(vectors, eigenvalues, centred.mT @ vectors * inverse_root)


def spectrum(eigenvalues: Tensor, channels: int, positions: int, function: SpectralMap, squared: bool) -> Spectrum:
    """What a kernel needs to know: ``eigenvalues`` (B, n) of `factorise`, with the null space appended."""
    eigenvalues = torch.nn.functional.pad(eigenvalues, (0, 1))
    resolved = eigenvalues if squared else eigenvalues.sqrt()  # what the decomposition resolves to its floor
    gap = (resolved.unsqueeze(-1) - resolved.unsqueeze(-2)).abs()
    tied = gap <= _floor(resolved, channels, positions).unsqueeze(-1)
    return Spectrum(eigenvalues, tied, function, channels)


def _thin_svd(matrix: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    U, roots, Vh = torch.linalg.svd(matrix, full_matrices=False)
    return U, roots, Vh


def _floor(descending: Tensor, channels: int, positions: int) -> Tensor:
    """Rounding of a decomposition, (B, 1): relative to each matrix's own largest value, so that scale is no matter."""
    largest = descending[..., :1].clamp(min=0)
    return torch.finfo(descending.dtype).eps * max(channels, positions) * largest
