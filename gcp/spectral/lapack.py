"""The two matrix decompositions everything rests on, tried again in other ways when they do not converge.

Nothing else in the library decomposes a matrix, except when a layer is exported.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from gcp.errors import DecompositionError
from gcp.spectral.failures import FAILURES

Parts = tuple[Tensor, ...]
LinAlgError: type[RuntimeError] = torch.linalg.LinAlgError  # type: ignore[attr-defined]  # missing from its __all__


def eigh(matrix: Tensor) -> Parts:
    """Eigenvalues (..., n), ascending, and eigenvectors (..., n, n) of symmetric matrices (..., n, n).

    Raises:
        DecompositionError: a matrix that cannot be decomposed even rescaled, on the CPU and with jitter.
    """
    return _persist(plain_eigh, 0, matrix)


def svd(matrix: Tensor) -> Parts:
    """Singular values (..., k), descending, U (..., m, k) and V^T (..., k, n) of matrices (..., m, n), k = min(m, n).

    Raises:
        DecompositionError: as `eigh`.
    """
    return _persist(plain_svd, 0, matrix)


def plain_eigh(matrix: Tensor) -> Parts:
    """`eigh` without retries: raises LinAlgError."""
    values, vectors = torch.linalg.eigh(matrix)
    return values, vectors


def plain_svd(matrix: Tensor) -> Parts:
    """`svd` without retries: raises LinAlgError."""
    U, values, Vh = torch.linalg.svd(matrix, full_matrices=False)
    return values, U, Vh


def _persist(decompose: Callable[[Tensor], Parts], values: int, batch: Tensor) -> Parts:
    """``decompose(batch)``; when that fails, matrix by matrix, and in other ways for those that fail alone."""
    try:
        return decompose(batch)
    except LinAlgError:
        if batch.dim() == 2:
            return _rescue(decompose, values, batch)
    flat = batch.reshape(-1, *batch.shape[-2:])
    parts = []
    for sample, matrix in enumerate(flat):
        try:
            parts.append(_persist(decompose, values, matrix))
        except DecompositionError:
            raise not_converged(sample, len(flat)) from None
    return tuple(torch.stack(part).reshape(*batch.shape[:-2], *part[0].shape) for part in zip(*parts, strict=True))


def _rescue(decompose: Callable[[Tensor], Parts], values: int, matrix: Tensor) -> Parts:
    """Decompose one matrix (m, n) in whatever way works; ``values`` is the position of the values in the result."""
    size = matrix.diagonal().sum() if decompose is plain_eigh else torch.linalg.vector_norm(matrix)
    scale = torch.where(size > 0, size, 1)
    unit = matrix / scale
    jitter = torch.finfo(matrix.dtype).eps * max(matrix.shape) * torch.eye(*matrix.shape, dtype=matrix.dtype)
    attempts = {"rescaled": unit, "moved": unit.cpu(), "jittered": unit.cpu() + jitter}
    if matrix.device.type == "cpu":
        del attempts["moved"]
    for kind, attempt in attempts.items():
        try:
            parts = [part.to(matrix.device) for part in decompose(attempt)]
        except LinAlgError:
            continue
        FAILURES.add(**{kind: 1})
        parts[values] = parts[values] * scale
        return tuple(parts)
    raise not_converged(0, 1)


def not_converged(sample: int, samples: int) -> DecompositionError:
    """The error that names the sample."""
    return DecompositionError(
        f"the decomposition of sample {sample} of {samples} does not converge, even rescaled, on the CPU and with "
        "jitter; look for values that are very large or very small in its features",
        (sample,),
    )
