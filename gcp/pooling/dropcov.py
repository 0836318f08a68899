"""Adaptive channel dropout before a plain covariance."""

from __future__ import annotations

from math import log2

import torch
from torch import Tensor, nn

from gcp.autograd import without_autocast
from gcp.estimate import moment_factor
from gcp.features import flat_features, second_moment, working
from gcp.methods import MethodInfo
from gcp.methods.dropcov import DropCovOptions
from gcp.pooling.base import MatrixPooling
from gcp.pooling.bilinear import unit_length
from gcp.position_weights import Shares, shares
from gcp.scaling import largest_entry, safe_unit
from gcp.spectral.range import require_in_range

WIDTH = 3  # channels that the attention looks at together


class DropCovPooling(MatrixPooling):
    """P itself, in training of features without some channels: (B, C, H, W) to (B, out_features) (NeurIPS 2022).

    In training a channel attention (a convolution over the channels' means, softmax) weighs the features, x (1 + w);
    then each channel of each sample is dropped with the p of `drop_probability`, and the others divided by 1 - p. In
    evaluation nothing is done: features multiplied by s give P multiplied by s^2. Chance is torch's global stream of
    the device, as that of ``nn.Dropout``.

    In training, with ``probability="batch"`` as published, p is one number for all samples from the mean over the
    batch, and that is the one way in which samples influence each other; "sample" gives each its own.

    Attributes:
        attention: (1, 1, 3), the convolution's weights.

    Raises, when called, ShapeError for a map of one position, and DomainError where P leaves the range of its type.
    """

    def __init__(self, in_channels: int, info: MethodInfo, options: DropCovOptions) -> None:
        super().__init__(in_channels, info, options)
        self.probability = options.probability
        self.attention = nn.Conv1d(1, 1, WIDTH, padding=WIDTH // 2, bias=False)

    def matrix(self, features: Tensor) -> Tensor:
        """(B, C, H, W) to (B, C, C)."""
        return self.estimated(features, None)

    def estimated(self, features: Tensor, weights: Tensor | None) -> Tensor:
        """(B, C, H, W) to (B, C, C)."""
        fewest = self.estimate.fewest_positions
        flat = working(flat_features(features, positions=fewest))
        positions = None if weights is None else shares(weights, features, flat.dtype, fewest)
        if positions is not None:
            flat = positions.of(flat)
        if self.training:
            flat = self.dropped(flat, positions)
        unit = safe_unit(largest_entry(flat.detach()))
        Y = moment_factor(flat / unit, positions, self.estimate)
        P = second_moment(Y) * unit**2
        finite = flat.detach().isfinite().all(-1).all(-1)[:, None, None]  # other samples stay as they are
        shown, present = (torch.where(finite, part.detach(), 0) for part in (P, Y))
        require_in_range(shown.to(features.dtype), present.flatten(1), "the plain value")
        return P

    def dropped(self, flat: Tensor, positions: Shares | None) -> Tensor:
        """(B, C, N) to (B, C, N): weighed by the attention, channels of chance 0."""
        with without_autocast(flat):
            means = flat.mean(-1) if positions is None else (flat * positions.share).sum(-1)
            weight = self.attention.weight.to(flat.dtype)
            importance = nn.functional.conv1d(means.unsqueeze(1), weight, padding=WIDTH // 2).squeeze(1).softmax(-1)
            weighed = flat * (1 + importance).unsqueeze(-1)
            with torch.no_grad():  # p is a number
                Y = moment_factor(weighed / safe_unit(largest_entry(weighed)), positions, self.estimate)
                p = drop_probability(Y, importance, self.probability == "batch").unsqueeze(-1)
        kept = torch.rand(flat.shape[:2], dtype=flat.dtype, device=flat.device) >= p
        factor = torch.where(kept, 1 / torch.where(p == 1, 1, 1 - p), 0)  # rand is below 1: nothing is kept at p = 1
        return weighed * factor.unsqueeze(-1)


def drop_probability(Y: Tensor, importance: Tensor, batch: bool) -> Tensor:
    """p = 1 - 10/log2(C) cos(importance, row sums of the covariance), from 0 to 1, (B,).

    Args:
        Y: (B, C, N), of which Y Y^T is the covariance.
        importance: (B, C).
        batch: the cosine's mean over the batch, for all samples. One that is not finite counts as 0, as does that of a
            covariance whose rows add up to 0.

    >>> drop_probability(torch.tensor([[[1.0, -1.0], [1.0, -1.0]]]), torch.tensor([[0.5, 0.5]]), batch=True)
    tensor([0.])
    """
    rows = (Y @ Y.sum(-2).unsqueeze(-1)).squeeze(-1)
    cosine = (unit_length(importance) * unit_length(rows)).sum(-1)
    cosine = torch.where(cosine.isfinite(), cosine, 0)
    if batch:
        cosine = cosine.mean().expand_as(cosine)
    return (1 - 10 / log2(max(Y.shape[1], 2)) * cosine).clamp(0, 1)
