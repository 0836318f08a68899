"""The two matrix decompositions everything rests on, tried again in other ways when they do not converge.

Nothing else in the library decomposes a matrix, except when a layer is exported.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from gcp.errors import DecompositionError
from gcp.spectral.failures import FAILURES
from gcp.spectral.parallel import deal

Parts = tuple[Tensor, ...]
WORTHWHILE = 48  # rows; a matrix of fewer is decomposed in less than 0.1 ms, so threads take several at a time
LinAlgError: type[RuntimeError] = torch.linalg.LinAlgError  # type: ignore[attr-defined]  # missing from its __all__


def eigh(matrix: Tensor) -> Parts:
    """Eigenvalues (B, n), ascending, and eigenvectors (B, n, n) of symmetric matrices (B, n, n).

    Raises:
        DecompositionError: a matrix that cannot be decomposed even rescaled, on the CPU and with jitter; names it.
    """
    values, vectors = matrix.new_empty(matrix.shape[:-1]), torch.empty_like(matrix).mT  # columns together, as LAPACK's
    return _spread(plain_eigh, 0, matrix, (values, vectors))


def svd(matrix: Tensor) -> Parts:
    """Singular values (B, k), descending, U (B, m, k) and V^T (B, k, n) of matrices (B, m, n), k = min(m, n).

    Raises:
        DecompositionError: as `eigh`.
    """
    batch, rows, columns = matrix.shape
    rank = min(rows, columns)
    shapes = ((batch, rank), (batch, rows, rank), (batch, rank, columns))
    return _spread(plain_svd, 0, matrix, tuple(matrix.new_empty(shape) for shape in shapes))


def plain_eigh(matrix: Tensor) -> Parts:
    """`eigh` without retries: raises LinAlgError."""
    values, vectors = torch.linalg.eigh(matrix)
    return values, vectors


def plain_svd(matrix: Tensor) -> Parts:
    """`svd` without retries: raises LinAlgError."""
    U, values, Vh = torch.linalg.svd(matrix, full_matrices=False)
    return values, U, Vh


def _spread(decompose: Callable[[Tensor], Parts], values: int, batch: Tensor, out: Parts) -> Parts:
    """``decompose(batch)``, into ``out`` on a CPU, whose cores share it; ``values``: the position of the values."""
    if batch.device.type != "cpu" or not batch.numel():
        return _persist(decompose, values, batch)

    def share(start: int, stop: int) -> None:
        try:
            parts = _persist(decompose, values, batch[start:stop])
        except DecompositionError as error:
            raise not_converged(start + error.samples[0], len(batch)) from None
        for part, target in zip(parts, out, strict=True):
            target[start:stop].copy_(part)

    deal(share, len(batch), run=-(-(WORTHWHILE**2) // (batch.shape[-2] * batch.shape[-1])))
    return out


def _persist(decompose: Callable[[Tensor], Parts], values: int, batch: Tensor) -> Parts:
    """``decompose(batch)``; when that fails, matrix by matrix, and in other ways for those that fail alone."""
    try:
        return decompose(batch)
    except LinAlgError:
        pass
    parts = []
    for sample, matrix in enumerate(batch):
        try:
            parts.append(decompose(matrix))
        except LinAlgError:
            rescued = _rescue(decompose, values, matrix)
            if rescued is None:
                raise not_converged(sample, len(batch)) from None
            parts.append(rescued)
    return tuple(torch.stack(part) for part in zip(*parts, strict=True))


def _rescue(decompose: Callable[[Tensor], Parts], values: int, matrix: Tensor) -> Parts | None:
    """Decompose one matrix (m, n) in whatever way works, or none."""
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
    return None


def not_converged(sample: int, samples: int) -> DecompositionError:
    """The error that names the sample."""
    return DecompositionError(
        f"the decomposition of sample {sample} of {samples} does not converge, even rescaled, on the CPU and with "
        "jitter; look for values that are very large or very small in its features",
        (sample,),
    )
