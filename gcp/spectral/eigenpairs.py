"""Eigenpairs of matrices that lie in the domain of a function; the check is opaque to torch.compile and vmap."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import torch
from torch import Tensor

from gcp.errors import DomainError
from gcp.features import sample_list, symmetric
from gcp.operators import define_operator, flattened
from gcp.rounding import negative_rounding, null_floor
from gcp.spectral import lapack, solvers
from gcp.spectral.lapack import Parts
from gcp.spectral.maps import SpectralMap
from gcp.spectral.nonfinite import finite_samples, nonfinite


def eigenpairs(
    matrix: Tensor,
    function: SpectralMap,
    eps: float,
    unit: Tensor | None = None,
    checked: bool = True,
    solver: str = "device",
) -> tuple[Tensor, Tensor]:
    """Eigenvalues (B, n), descending in magnitude, and eigenvectors (B, n, n) of the Hermitian parts of (B, n, n).

    Of a and -a the positive one stands first. Where f or its slope is infinite at 0, or f lives on lam >= 0, null
    eigenvalues are exactly 0: those of either sign that storing and computing the matrix in its own dtype explains. A
    negative one beyond that floor, but within what long sums leave, shows how much they left: positive ones of that
    size are null, too. A custom operator, except when exported: an exported program has the plain decomposition,
    without retries and without any check.

    Args:
        matrix: (B, n, n), in the dtype to decompose in.
        function: the map to be applied; decides which eigenvalues are admitted.
        eps: unit roundoff of the dtype the matrix came in, or is decomposed in if that is coarser.
        unit: (B, 1, 1), what the matrices were divided by, for messages.
        checked: raise for matrices that are not finite or not in the domain; otherwise those give NaN, unseen.
        solver: of `gcp.spectral.solvers`.

    Raises:
        NonFiniteError: NaN or infinity; names the matrices.
        DomainError: a negative eigenvalue, or a null one where the function is infinite; names the matrices.
        DecompositionError: a matrix that cannot be decomposed in any way.
    """
    nonnegative, finite = function.nonnegative, function.finite_at_zero
    singular = nonnegative or function.singular_at_zero
    if torch.compiler.is_exporting():
        if not checked:
            return _with_nan(lapack.plain_eigh, matrix, eps, nonnegative, singular)
        ordered = _ordered(lapack.plain_eigh(symmetric(matrix)), nonnegative)
        return _without_null(*ordered, eps, nonnegative) if singular else ordered
    found: tuple[Tensor, Tensor] = torch.ops.gcp.eigenpairs(
        matrix, unit, eps, function.name, nonnegative, singular, finite, checked, solver
    )
    return found


def _operator(
    matrix: Tensor,
    unit: Tensor | None,
    eps: float,
    name: str,
    nonnegative: bool,
    singular: bool,
    finite: bool,
    checked: bool,
    solver: str,
) -> tuple[Tensor, Tensor]:
    eigh = partial(solvers.eigh, solver=solver)
    if not checked:
        eigenvalues, vectors = _with_nan(eigh, matrix, eps, nonnegative, singular)
        return eigenvalues, vectors.contiguous()
    finite_samples(matrix, zero=False, what="matrix")
    eigenvalues, vectors = _ordered(eigh(symmetric(matrix)), nonnegative)
    if nonnegative:
        _require_nonnegative(eigenvalues, eps, unit, name)
    if singular:
        eigenvalues, vectors = _without_null(eigenvalues, vectors, eps, nonnegative)
    if not finite and not eigenvalues.all():
        samples = sample_list(~eigenvalues.bool().all(-1))
        remedy = "; set eps, for instance eps=1e-5" if nonnegative else ""
        raise DomainError(
            f"{name} is infinite at 0 and matrix {samples[0]} is singular to the precision of its type{remedy}", samples
        )
    return eigenvalues, vectors.contiguous()


def _with_nan(
    eigh: Callable[[Tensor], Parts], matrix: Tensor, eps: float, nonnegative: bool, singular: bool
) -> tuple[Tensor, Tensor]:
    """As `_operator`, with NaN for matrices that are not finite or not in the domain, without a look at them."""
    bad = nonfinite(matrix)
    eigenvalues, vectors = _ordered(eigh(symmetric(matrix.masked_fill(bad[:, None, None], 0))), nonnegative)
    if nonnegative:
        bad = bad | _negative(eigenvalues, eps)
    if singular:
        eigenvalues, vectors = _without_null(eigenvalues, vectors, eps, nonnegative)
    return eigenvalues.masked_fill(bad[:, None], torch.nan), vectors.masked_fill(bad[:, None, None], torch.nan)


def _ordered(ascending: Parts, nonnegative: bool) -> tuple[Tensor, Tensor]:
    eigenvalues, vectors = (part.flip(-1) for part in ascending)
    if nonnegative:
        return eigenvalues, vectors
    order = eigenvalues.abs().argsort(dim=-1, descending=True, stable=True)
    return eigenvalues.gather(-1, order), vectors.gather(-1, order.unsqueeze(-2).expand_as(vectors))


def _negative(eigenvalues: Tensor, eps: float) -> Tensor:
    """Mask (B,) of those with an eigenvalue below 0, beyond rounding; the last one is the least."""
    rounding = negative_rounding(eigenvalues.shape[-1], eps) * eigenvalues.abs().amax(-1)
    return eigenvalues[..., -1] < -null_floor(eigenvalues, eps).squeeze(-1).maximum(rounding)


def _require_nonnegative(eigenvalues: Tensor, eps: float, unit: Tensor | None, name: str) -> None:
    negative = _negative(eigenvalues, eps)
    if negative.any():
        samples = sample_list(negative)
        scale = 1 if unit is None else unit[samples[0]].item()
        raise DomainError(
            f"{name} needs positive semi-definite matrices; matrix {samples[0]} has the eigenvalue "
            f"{eigenvalues[samples[0], -1].item() * scale:.3g}",
            samples,
        )


def _without_null(eigenvalues: Tensor, vectors: Tensor, eps: float, nonnegative: bool) -> tuple[Tensor, Tensor]:
    floor = null_floor(eigenvalues, eps)
    if nonnegative:
        floor = floor.maximum(-eigenvalues[..., -1:])
    return torch.where(eigenvalues.abs() > floor, eigenvalues, 0), vectors


def _allocate(matrix: Tensor, *_: object) -> tuple[Tensor, Tensor]:
    eigenvalues = matrix.new_empty(matrix.shape[:-1], dtype=matrix.dtype.to_real())
    return eigenvalues, matrix.new_empty(matrix.shape)


def _vmap(info: Any, in_dims: tuple[int | None, ...], *arguments: Any) -> tuple[tuple[Tensor, ...], tuple[int, int]]:
    parts = torch.ops.gcp.eigenpairs(*flattened(info, in_dims, arguments))
    return tuple(part.unflatten(0, (info.batch_size, -1)) for part in parts), (0, 0)


define_operator(
    "eigenpairs(Tensor matrix, Tensor? unit, float eps, str name, bool nonnegative, bool singular, bool finite, "
    "bool checked, str solver) -> (Tensor, Tensor)",
    _operator,
    _allocate,
    _vmap,
)
