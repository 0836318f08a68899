"""Principal components of features, from whichever of covariance and Gram matrix is smaller."""

from __future__ import annotations

from typing import Any, NamedTuple

import torch
from torch import Tensor

from gcp.autograd import BothModes, keep, without_autocast
from gcp.errors import OptionError
from gcp.features import flat_features
from gcp.linalg.eigh import ADVICE
from gcp.linalg.gauge import check_gauge
from gcp.linalg.vector_method import Final, Origin, Quotients, VectorMethod, vector_method
from gcp.scaling import exact_unit
from gcp.spectral.decomposition import factorise

REFUSAL = (
    "principal components have no second derivatives; use gcp.linalg.eigh of the covariance with method 'pade', or "
    "gcp.linalg.eigenprojector"
)


class PCA(NamedTuple):
    """Variances (B, k), descending, and the directions they belong to, components (B, C, k), in columns."""

    variances: Tensor
    components: Tensor


def pca(features: Tensor, k: int, method: str = "taylor", **options: Any) -> PCA:
    """The k principal components of features over their positions.

    The smaller of the Gram matrix (N, N) and the covariance (C, C) is decomposed, and with fewer positions than
    channels nothing C x C is made, forward or backward. Of features Xc = U diag(s) V^T, centred and divided by sqrt(N),
    with W = E o (U^T gU) and E as in `gcp.linalg.eigh`, the gradient is
    [U (W + W^T + 2 diag(glam)) diag(s) + (I - U U^T) gU diag(D(lam, 0) s)] V^T.

    Args:
        features: (B, C, H, W) or (B, C, N), any real floating dtype.
        k: number of components, at most min(C, N - 1). Beyond the rank of the features variances and components are 0.
        method: as in `gcp.linalg.eigh`.
        options: of the method; ``gauge``, as there; ``precision`` and ``path``, as of the pooling layers.

    Returns:
        Variances (B, k), descending, and components (B, C, k), orthonormal columns, in the dtype of ``features``.

    Raises:
        ShapeError, DtypeError, NonFiniteError, DecompositionError: as `gcp.covariance_function`.
        UnknownNameError, OptionError: as `gcp.linalg.eigh`, and for k out of range.

    >>> features = torch.tensor([[[2.0, -2.0, 2.0, -2.0], [1.0, 1.0, -1.0, -1.0], [5.0, 5.0, 5.0, 5.0]]])
    >>> variances, components = pca(features, 2)
    >>> variances.round(decimals=4)
    tensor([[4., 1.]])
    """
    flat = flat_features(features)
    channels, positions = flat.shape[1:]
    most = min(channels, positions - 1)
    if not isinstance(k, int) or isinstance(k, bool) or not 1 <= k <= most:
        raise OptionError(f"k must be 1 to {most}, for {channels} channels at {positions} positions, got {k!r}")
    prepared = vector_method(method, options, signed=False, shared=("precision", "path"))
    prepared.options.check_channels(channels)
    with without_autocast(flat):
        unit = exact_unit(flat) if prepared.options.scale_free and flat.numel() else None
        eigenvalues, U, _ = PrincipalComponents.apply(flat if unit is None else flat / unit, prepared)
        variances = eigenvalues if unit is None else eigenvalues * unit.squeeze(-1) ** 2
        return PCA(variances[..., :k].to(flat.dtype), U[..., :k].to(flat.dtype))


class PrincipalComponents(BothModes):
    """Eigenpairs of the covariance of features, and V; their derivatives are `gradient` and `tangent_of_components`."""

    @staticmethod
    def forward(x: Tensor, method: VectorMethod) -> tuple[Tensor, Tensor, Tensor]:
        """Eigenvalues (B, n), U (B, C, n) and V (B, N, n) of `factorise`."""
        U, eigenvalues, V = factorise(x, method.options)
        return eigenvalues, U, V

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: tuple[Tensor, ...]) -> None:
        """Keep the factors."""
        x, ctx.method = inputs
        ctx.dtype = x.dtype
        ctx.origin = Origin(x.shape[-2], max(x.shape[-2:]), torch.finfo(x.dtype).eps, squares=True)
        ctx.mark_non_differentiable(output[2])
        keep(ctx, *output)
        ctx.set_materialize_grads(False)

    @staticmethod
    def backward(ctx: Any, glam: Tensor | None, gU: Tensor | None, _: Tensor | None) -> tuple[Tensor | None, None]:
        """dℓ/dx (B, C, N)."""
        if glam is None and gU is None:
            return None, None
        eigenvalues, U, V = ctx.saved_tensors
        grad = PCAGradient.apply(REFUSAL, ctx.method, ctx.origin, eigenvalues, U, V, glam, gU)
        return grad.to(ctx.dtype), None

    @staticmethod
    def tangent(ctx: Any, dx: Tensor | None = None, *_: Tensor | None) -> tuple[Tensor, Tensor, None]:
        """Tangents of eigenvalues and U."""
        eigenvalues, U, V = ctx.saved_tensors
        assert dx is not None
        tangents = PCATangent.apply(REFUSAL, ctx.method, ctx.origin, eigenvalues, U, V, dx)
        return *tangents, None


def gradient(
    method: VectorMethod,
    found: Quotients,
    eigenvalues: Tensor,
    U: Tensor,
    V: Tensor,
    glam: Tensor | None,
    gU: Tensor | None,
) -> Tensor:
    """dℓ/dx, (B, C, N), from the cotangents of eigenvalues (B, n) and U (B, C, n)."""
    M = None if gU is None else U.mT @ gU
    with without_autocast(U):
        check_gauge(found.tied, M, glam, method.gauge, ADVICE, torch.finfo(U.dtype).eps)
        root = eigenvalues.sqrt()
        if glam is None:
            core = torch.zeros_like(found.among, dtype=U.dtype)
        else:
            core = torch.diag_embed(2 * (glam if found.kept is None else glam * found.kept)).to(U.dtype)
        left: Tensor | None = None
        if gU is not None:
            assert M is not None
            W = found.among.mT.to(U.dtype) * M
            core = core + W + W.mT
            left = (gU - U @ M) * (found.null * root).to(U.dtype).unsqueeze(-2)
        inside = U @ (core * root.to(U.dtype).unsqueeze(-2))
        total: Tensor = inside if left is None else inside + left
        grad_x: Tensor = total @ V.mT / V.shape[-2] ** 0.5
        return grad_x


def tangent_of_components(
    method: VectorMethod, found: Quotients, eigenvalues: Tensor, U: Tensor, V: Tensor, dx: Tensor
) -> tuple[Tensor, Tensor]:
    """Tangents of eigenvalues (B, n) and U (B, C, n), the adjoint of `gradient`; columns of V are centred."""
    with without_autocast(U):
        root = eigenvalues.sqrt()
        turned = dx.to(U.dtype) @ V / V.shape[-2] ** 0.5
        B = U.mT @ turned
        scaled = B * root.to(U.dtype).unsqueeze(-2)
        X = scaled + scaled.mT
        dvalues = X.diagonal(dim1=-2, dim2=-1).clone().to(eigenvalues.dtype)
        dU = U @ (found.among.mT.to(U.dtype) * X)
        dU = dU + (turned - U @ B) * (found.null * root).to(U.dtype).unsqueeze(-2)
        return (dvalues if found.kept is None else dvalues * found.kept), dU


class PCAGradient(Final):
    """`gradient`, without a derivative."""

    @staticmethod
    def forward(
        refusal: str,
        method: VectorMethod,
        origin: Origin,
        eigenvalues: Tensor,
        U: Tensor,
        V: Tensor,
        glam: Tensor | None,
        gU: Tensor | None,
    ) -> Tensor:
        """(B, C, N)."""
        return gradient(method, method.quotients(eigenvalues, origin), eigenvalues, U, V, glam, gU)


class PCATangent(Final):
    """`tangent_of_components`, without a derivative."""

    @staticmethod
    def forward(
        refusal: str, method: VectorMethod, origin: Origin, eigenvalues: Tensor, U: Tensor, V: Tensor, dx: Tensor
    ) -> tuple[Tensor, Tensor]:
        """Of eigenvalues (B, n) and U (B, C, n)."""
        return tangent_of_components(method, method.quotients(eigenvalues, origin), eigenvalues, U, V, dx)
