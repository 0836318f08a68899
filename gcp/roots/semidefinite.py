"""The check that a matrix has a real root, without decomposing it; opaque to torch.compile and vmap."""

from __future__ import annotations

import torch
from torch import Tensor

from gcp.errors import DomainError
from gcp.features import eye_like, sample_list, symmetric
from gcp.operators import define_operator
from gcp.rounding import negative_rounding
from gcp.scaling import largest_entry


def require_semidefinite(matrix: Tensor, eps: float) -> Tensor:
    """``matrix`` (..., n, n), whose symmetric part has no eigenvalue below 0 but for rounding; NaN is let through.

    Args:
        matrix: without history.
        eps: unit roundoff of the dtype it came in.

    Raises:
        DomainError: a negative eigenvalue; names the matrices by their positions in the flattened batch.
    """
    checked: Tensor = torch.ops.gcp.require_semidefinite(matrix, eps)
    return checked


def _operator(matrix: Tensor, eps: float) -> Tensor:
    if not matrix.numel():
        return matrix.clone()
    size = matrix.shape[-1]
    batch = matrix.reshape(-1, size, size).double()
    batch = batch.masked_fill(~batch.isfinite().flatten(1).all(1)[:, None, None], 0)
    largest = largest_entry(batch)
    unit = torch.where(largest > 0, largest, 1)
    scaled = symmetric(batch / unit)
    norm = torch.linalg.matrix_norm(scaled, keepdim=True)
    allowed = negative_rounding(size, eps, factorisation=2 * size) * torch.where(norm > 0, norm, 1)
    _, info = torch.linalg.cholesky_ex(scaled + allowed * eye_like(scaled))
    for sample in sample_list(info > 0):
        least = torch.linalg.eigvalsh(scaled[sample])[0]
        if least < -allowed[sample].squeeze():
            raise DomainError(
                "a matrix root needs positive semi-definite matrices; "
                f"matrix {sample} has the eigenvalue {float(least * unit[sample]):.3g}",
                (sample,),
            )
    return matrix.clone()


def _allocate(matrix: Tensor, eps: float) -> Tensor:
    return torch.empty_like(matrix)


def _vmap(info: object, in_dims: tuple[int | None, ...], matrix: Tensor, eps: float) -> tuple[Tensor, int]:
    assert in_dims[0] is not None
    return torch.ops.gcp.require_semidefinite(matrix.movedim(in_dims[0], 0), eps), 0


define_operator("require_semidefinite(Tensor matrix, float eps) -> Tensor", _operator, _allocate, _vmap)
