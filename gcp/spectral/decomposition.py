"""Thin singular value decomposition of centred features, by the cheapest exact route."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache, partial
from typing import NamedTuple

import torch
from torch import Tensor

from gcp.dtypes import COMPLEX, real_of
from gcp.errors import DomainError
from gcp.features import at_least_float32, sample_list
from gcp.operators import define_operator
from gcp.rounding import mean_rounding, rounding_floor
from gcp.scaling import largest_entry
from gcp.spectral import lapack, solvers
from gcp.spectral.nonfinite import finite_samples, nonfinite
from gcp.spectral.spectral_options import SpectralOptions

Decompose = Callable[[Tensor], tuple[Tensor, ...]]


class Factors(NamedTuple):
    """Xc = U diag(sqrt lam) V^H, so that Xc Xc^H = U diag(lam) U^H.

    n is N on the Gram path, C on the dense path, the smaller of the two from the SVD.

    Attributes:
        U: (B, C, n) eigenvectors of the covariance; columns of null eigenvalues are 0.
        eigenvalues: (B, n), descending, null ones exactly 0.
        V: (B, N, n) eigenvectors of the Gram matrix; columns of null eigenvalues are 0.
    """

    U: Tensor
    eigenvalues: Tensor
    V: Tensor


@dataclass(frozen=True)
class Route:
    """What is decomposed, and in which dtypes.

    Attributes:
        kind: "gram", eigh of Xc^H Xc; "dense", eigh of Xc Xc^H; "svd", Xc itself, which float32 needs.
        working: dtype of centring and decomposition; the kernel is in its real type.
        products: dtype of U and V, and so of all products with them.
    """

    kind: str
    working: torch.dtype
    products: torch.dtype

    @property
    def squared(self) -> bool:
        """Whether the square of the features is decomposed."""
        return self.kind != "svd"

    def rank(self, channels: int, positions: int) -> int:
        """n of `Factors`."""
        return {"gram": positions, "dense": channels, "svd": min(channels, positions)}[self.kind]


def choose_route(precision: str, path: str, dtype: torch.dtype, channels: int, positions: int) -> Route:
    """The route for features (B, channels, positions) of ``dtype``; precision and path as in `SpectralOptions`."""
    single, double = (COMPLEX[kind] if dtype.is_complex else kind for kind in (torch.float32, torch.float64))
    if precision == "float32":
        return Route("svd", single, single)
    if path == "auto":
        path = "gram" if positions < channels else "dense"
    return Route(path, double, at_least_float32(dtype) if precision == "mixed" else double)


_known_route = lru_cache(choose_route)  # where sizes are numbers


def factorise(features: Tensor, options: SpectralOptions) -> Factors:
    """Factors of the covariances of features (B, C, N).

    Eigenvalues at or below a floor relative to the largest one of the same matrix, and what the rounding of the mean
    leaves of features that hardly vary, are null and set to 0. A custom operator, opaque to `torch.compile`, except
    when exported: an exported program has the plain decomposition, without retries and without the check for NaN.

    Raises:
        NonFiniteError: samples with NaN or infinity, when the option ``nonfinite`` is "raise".
        DecompositionError: a sample that does not converge in any way.
    """
    if torch.compiler.is_exporting():
        channels, positions = features.shape[-2:]
        route = choose_route(options.precision, options.path, features.dtype, channels, positions)
        if options.nonfinite == "nan":
            return Factors(*_with_nan(features, route, lapack.plain_eigh, lapack.plain_svd))
        if options.nonfinite == "zero":
            features = features.masked_fill(nonfinite(features)[:, None, None], 0)
        return Factors(*_factorise(features, route, lapack.plain_eigh, lapack.plain_svd))
    choices = (options.precision, options.path, options.nonfinite, options.solver)
    return Factors(*torch.ops.gcp.factorise.default(features, *choices))


def _operator(features: Tensor, precision: str, path: str, unusual: str, solver: str) -> tuple[Tensor, Tensor, Tensor]:
    channels, positions = features.shape[-2:]
    if not features.numel():
        nothing: tuple[Tensor, Tensor, Tensor] = _allocate(features, precision, path)
        return nothing
    route = _known_route(precision, path, features.dtype, channels, positions)
    eigh = partial(solvers.eigh, solver=solver)
    if unusual == "nan":
        return _with_nan(features, route, eigh, lapack.svd)
    features = finite_samples(features, unusual == "zero")
    if _may_leave_range(features, route):
        _check_squares(features, route.working)
    return _factorise(features, route, eigh, lapack.svd)


def _with_nan(features: Tensor, route: Route, eigh: Decompose, svd: Decompose) -> tuple[Tensor, Tensor, Tensor]:
    """`_factorise` with NaN for samples that are not finite, or out of range, without a look at which those are."""
    bad = nonfinite(features)
    if _may_leave_range(features, route):
        size, (least, most) = largest_entry(features).flatten(), _range_of_squares(features, route.working)
        bad = bad | ((size != 0) & ((size < least) | (size > most)))
    bad = bad[:, None, None]
    U, eigenvalues, V = _factorise(features.masked_fill(bad, 0), route, eigh, svd)
    return U.masked_fill(bad, torch.nan), eigenvalues.masked_fill(bad.squeeze(-1), torch.nan), V


def _may_leave_range(features: Tensor, route: Route) -> bool:
    return torch.finfo(features.dtype).max >= torch.finfo(route.working).max


def _range_of_squares(features: Tensor, working: torch.dtype) -> tuple[float, float]:
    """Sizes of features (B, C, N) between which ``working`` holds their eigenvalues, which are squares."""
    limits = torch.finfo(working)
    return limits.tiny**0.5 / limits.eps, (limits.max / features[0].numel()) ** 0.5 / 4


def _check_squares(features: Tensor, working: torch.dtype) -> None:
    """Raise DomainError where ``working`` cannot hold the eigenvalues of features (B, C, N)."""
    least, most = _range_of_squares(features, working)
    size = largest_entry(features).flatten()
    outside = (size != 0) & ((size < least) | (size > most))
    if outside.any():
        samples = sample_list(outside)
        raise DomainError(
            f"the features of sample {samples[0]} are as large as {float(size[samples[0]]):.3g}, and this function "
            f"needs their squares: scale them to between {least:.0e} and {most:.0e}",
            samples,
        )


def _allocate(features: Tensor, precision: str, path: str, *_: str) -> tuple[Tensor, Tensor, Tensor]:
    batch, channels, positions = features.shape
    route = choose_route(precision, path, features.dtype, channels, positions)
    n = route.rank(channels, positions)
    return (
        features.new_empty((batch, channels, n), dtype=route.products),
        features.new_empty((batch, n), dtype=real_of(route.working)),
        features.new_empty((batch, positions, n), dtype=route.products),
    )


def _vmap(
    info: object, in_dims: tuple[int | None, ...], features: Tensor, *choices: str
) -> tuple[tuple[Tensor, ...], tuple[int, ...]]:
    assert in_dims[0] is not None
    features = features.movedim(in_dims[0], 0)
    parts = torch.ops.gcp.factorise(features.flatten(0, 1), *choices)
    return tuple(part.unflatten(0, features.shape[:2]) for part in parts), (0, 0, 0)


define_operator(
    "factorise(Tensor features, str precision, str path, str nonfinite, str solver) -> (Tensor, Tensor, Tensor)",
    _operator,
    _allocate,
    _vmap,
)


def _factorise(features: Tensor, route: Route, eigh: Decompose, svd: Decompose) -> tuple[Tensor, Tensor, Tensor]:
    """U, eigenvalues and V of finite features (B, C, N), contiguous, U and V in the dtype of the products."""
    channels, positions = features.shape[-2:]
    working = features.to(route.working, copy=True)
    mean = working.mean(-1, keepdim=True)
    centred = working.sub_(mean)
    unresolved = mean_rounding(mean)
    if not route.squared:
        roots, U, Vh = svd(centred.div_(positions**0.5))
        present = roots > torch.maximum(rounding_floor(roots, channels, positions), unresolved)
        mask = present.unsqueeze(-2)
        return (U * mask).contiguous(), torch.where(present, roots**2, 0), (Vh.mH * mask).contiguous()
    gram = route.kind == "gram"
    matrix = (centred.mH @ centred if gram else centred @ centred.mH).div_(positions)
    ascending, vectors = eigh(matrix)
    eigenvalues = ascending.flip(-1)
    present = eigenvalues > torch.maximum(rounding_floor(eigenvalues, channels, positions), unresolved**2)
    eigenvalues = torch.where(present, eigenvalues, 0)
    scale = torch.where(present, (eigenvalues * positions).rsqrt(), 0)
    vectors = vectors.flip(-1) * present.unsqueeze(-2)
    other = ((centred if gram else centred.mH) @ (vectors * scale.unsqueeze(-2))).to(route.products)
    vectors = vectors.to(route.products, memory_format=torch.contiguous_format)
    return (other, eigenvalues, vectors) if gram else (vectors, eigenvalues, other)
