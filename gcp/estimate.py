"""How a covariance is estimated: weights of positions, second moments without centring, shrinkage.

None of it changes what becomes of the covariance. Every layer pools the plain covariance of features; here features are
turned into others whose plain covariance is the wanted matrix, by operations that torch differentiates.
"""

from __future__ import annotations

import torch
from torch import Tensor

from gcp.autograd import without_autocast
from gcp.features import at_least_float32, centred, flat_features, second_moment, working
from gcp.position_weights import Shares, shares
from gcp.rounding import mean_rounding
from gcp.scaling import largest_entry, safe_unit
from gcp.spectral.spectral_options import EstimateOptions


def moment_root(flat: Tensor, positions: Shares | None, about_mean: bool = True) -> Tensor:
    """Y with Y Y^T = sum_n p_n (x_n - m)(x_n - m)^T, p_n the share of position n, m the mean; (B, C, N) to (B, C, N).

    Args:
        flat: (B, C, N), in the dtype to compute in.
        positions: None: all count the same, p = 1/N.
        about_mean: otherwise m = 0.

    >>> Y = moment_root(torch.tensor([[[2.0, 4.0], [1.0, 1.0]]]), None, about_mean=False)
    >>> (Y @ Y.mT).round(decimals=4)
    tensor([[[10.,  3.],
             [ 3.,  1.]]])
    """
    if positions is None:
        return centred(flat) if about_mean else flat / flat.shape[-1] ** 0.5
    flat = positions.of(flat)
    if not about_mean:
        return flat * positions.root
    mean = (flat * positions.share).sum(-1, keepdim=True)
    Y = (flat - mean) * positions.root
    size = torch.linalg.vector_norm(Y.detach(), dim=(-2, -1), keepdim=True)
    return torch.where(size <= mean_rounding(mean.detach()).unsqueeze(-1), 0, Y)  # as in `centred`


def weighted_columns(features: Tensor, weights: Tensor | None) -> Tensor:
    """X (B, C, N) with X X^T the sum of x_n x_n^T, or with weights their mean; in their dtype, float32 at least.

    >>> X = weighted_columns(torch.tensor([[[3.0, 1.0, 4.0]]]), torch.tensor([[True, True, False]]))
    >>> X.square().sum().round()
    tensor(5.)
    """
    flat = working(flat_features(features, positions=1))
    return flat if weights is None else moment_root(flat, shares(weights, features, flat.dtype), about_mean=False)


def shrinkage_intensity(Y: Tensor, positions: Shares | None, options: EstimateOptions) -> Tensor | None:
    """a of the shrunk covariance (1 - a) P + a tr(P)/C I, (B, 1, 1); None: not shrunk.

    It stays below 1 by one rounding, so that no quotient of 1 - a is 0.

    >>> shrinkage_intensity(torch.rand(2, 4, 9), None, EstimateOptions(shrinkage=0.25)).flatten()
    tensor([0.2500, 0.2500])
    """
    most = 1 - torch.finfo(Y.dtype).eps
    if options.ledoit_wolf:
        return ledoit_wolf(Y, positions).clamp(max=most)
    if options.shrinkage:
        return torch.full_like(Y[:, :1, :1], min(options.shrinkage, most))
    return None


def ledoit_wolf(Y: Tensor, positions: Shares | None = None) -> Tensor:
    """Ledoit and Wolf's intensity for P = Y Y^T, a sample at a time: (B, C, N) to (B, 1, 1), in [0, 1].

    The share of the distance |P - tr(P)/C I|^2 that chance explains, sum_n p_n^2 |x_n x_n^T - P|^2 (J. Multivariate
    Analysis 88, 2004, for p_n = 1/N; equal to scikit-learn's). Differentiable: it depends on the features as P does,
    and a gradient without it would not be the derivative of the layer. Where it is cut off at 1 nothing flows through
    it.

    >>> Y = moment_root(torch.tensor([[[2.0, 2.0, -2.0, -2.0], [1.0, -1.0, 1.0, -1.0]]]), None)
    >>> ledoit_wolf(Y).flatten().round(decimals=4)
    tensor([0.4444])
    """
    channels, count = Y.shape[-2:]
    with without_autocast(Y):
        Y = Y / safe_unit(largest_entry(Y.detach()))
        product = second_moment(Y.mT if count < channels else Y)
        lengths = Y.square().sum(-2)  # p_n |x_n|^2
        total = product.square().sum((-2, -1))  # |P|^2
        spread = lengths.square().sum(-1)
        if positions is None:
            spread = spread - total / count
        else:  # sum_n p_n x_n^T P x_n from (Y^T Y)^2, or as <P, sum_n p_n y_n y_n^T>
            across = product * (positions.share if count < channels else 1)
            across = across * (product if count < channels else second_moment(Y * positions.root))
            spread = spread - 2 * across.sum((-2, -1)) + positions.share.square().sum((-2, -1)) * total
        distance = total - lengths.sum(-1).square() / channels
        whole = spread >= distance
        a = torch.where(whole, 1, spread / torch.where(whole, 1, distance)).clamp(min=0)
    return a[:, None, None]


def shrunk(Y: Tensor, a: Tensor) -> tuple[Tensor, Tensor]:
    """sqrt(1 - a) Y and the shift a tr(P)/C of eigenvalues, (B, 1, 1): (1 - a) P + a tr(P)/C I is made of the two.

    >>> Y, shift = shrunk(torch.tensor([[[2.0], [0.0]]]), torch.tensor([[[0.5]]]))
    >>> (Y @ Y.mT).diagonal(dim1=1, dim2=2).round(decimals=4), shift.flatten()
    (tensor([[2., 0.]]), tensor([1.]))
    """
    mean = Y.square().sum((-2, -1), keepdim=True) / Y.shape[-2]
    return (1 - a).sqrt() * Y, a * mean


def with_identity(Y: Tensor, a: Tensor) -> Tensor:
    """[sqrt(1 - a) Y, sqrt(a tr(P)/C) I], (B, C, N + C), whose product with its transpose is the shrunk covariance.

    >>> Y = with_identity(torch.tensor([[[2.0], [0.0]]]), torch.tensor([[[0.5]]]))
    >>> (Y @ Y.mT).diagonal(dim1=1, dim2=2).round(decimals=4)
    tensor([[3., 1.]])
    """
    unit = safe_unit(largest_entry(Y.detach()))
    scaled, shift = shrunk(Y / unit, a)
    root = torch.where(shift > 0, torch.where(shift > 0, shift, 1).sqrt(), 0)
    identity = torch.eye(Y.shape[-2], dtype=Y.dtype, device=Y.device)
    return torch.cat([scaled, root * identity], -1) * unit


def as_features(Y: Tensor) -> Tensor:
    """Features (B, C, N + 1) whose plain covariance is Y Y^T, Y (B, C, N), though the columns of Y have a mean.

    sqrt(N + 1) Y Q, the rows of Q orthonormal, their sums 0: Q = [I - a 1 1^T, -b 1], b = 1/sqrt(N + 1), a = (1 - b)/N.

    >>> X = as_features(torch.tensor([[[2.0, 4.0, 1.0]]]))
    >>> X.mean().abs() < 1e-6, X.var(correction=0).round()  # 4 + 16 + 1
    (tensor(True), tensor(21.))
    """
    count = Y.shape[-1]
    root = (count + 1) ** 0.5
    total = Y.sum(-1, keepdim=True)
    return torch.cat([(Y - total * ((1 - 1 / root) / count)) * root, -total], -1)


def moment_factor(flat: Tensor, positions: Shares | None, options: EstimateOptions) -> Tensor:
    """Y (B, C, M) with Y Y^T the covariance that ``options`` and the shares describe, of ``flat`` (B, C, N).

    >>> Y = moment_factor(torch.tensor([[[2.0, -2.0], [0.0, 0.0]]]), None, EstimateOptions(shrinkage=0.5))
    >>> (Y @ Y.mT).round(decimals=4)  # P/2 + tr(P)/4 I
    tensor([[[3., 0.],
             [0., 1.]]])
    """
    Y = moment_root(flat, positions, options.centred)
    a = shrinkage_intensity(Y, positions, options)
    return Y if a is None else with_identity(Y, a)


def plain_features(
    features: Tensor, weights: Tensor | None, options: EstimateOptions, dtype: torch.dtype | None = None
) -> Tensor:
    """Features (B, C, M) whose plain covariance is the one that ``options`` and ``weights`` describe.

    Args:
        features: of the forms of `flat_features`.
        weights: see `gcp.position_weights.shares`; None: all positions count the same.
        options: the method's.
        dtype: to compute in; None: that of the features, float32 at least.

    >>> X = plain_features(torch.rand(2, 4, 3, 3), None, EstimateOptions(centred=False))
    >>> X.shape  # one more than 9
    torch.Size([2, 4, 10])
    """
    flat = flat_features(features, positions=options.fewest_positions)
    flat = flat.to(dtype or at_least_float32(flat.dtype))
    positions = None if weights is None else shares(weights, features, flat.dtype, options.fewest_positions)
    return as_features(moment_factor(flat, positions, options)).to(at_least_float32(features.dtype))
