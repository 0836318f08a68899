"""Adaptive channel dropout before a plain covariance."""

from __future__ import annotations

from math import log2

import torch
from torch import Tensor, nn

from gcp.autograd import without_autocast
from gcp.features import centred, flat_features, second_moment, working
from gcp.methods import MethodInfo
from gcp.methods.dropcov import DropCovOptions
from gcp.pooling.base import MatrixPooling
from gcp.pooling.bilinear import unit_length
from gcp.scaling import in_safe_units, largest_entry, safe_unit
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
        flat = working(flat_features(features))
        if self.training:
            flat = self.dropped(flat)
        P = in_safe_units(lambda flat: second_moment(centred(flat)), flat, degree=2)
        seen = flat.detach()
        finite = seen.isfinite().all(-1).all(-1)[:, None, None]  # others stay as they are
        present = torch.where(finite, centred(seen / safe_unit(largest_entry(seen))), 0).abs().amax(-1)
        require_in_range(torch.where(finite, P.detach(), 0).to(features.dtype), present, "the plain value")
        return P

    def dropped(self, flat: Tensor) -> Tensor:
        """(B, C, N) to (B, C, N): weighed by the attention, channels of chance 0."""
        with without_autocast(flat):
            weight = self.attention.weight.to(flat.dtype)
            means = flat.mean(-1).unsqueeze(1)
            importance = nn.functional.conv1d(means, weight, padding=WIDTH // 2).squeeze(1).softmax(-1)
            weighed = flat * (1 + importance).unsqueeze(-1)
            p = drop_probability(weighed.detach(), importance.detach(), self.probability == "batch").unsqueeze(-1)
        kept = torch.rand(flat.shape[:2], dtype=flat.dtype, device=flat.device) >= p
        factor = torch.where(kept, 1 / torch.where(p == 1, 1, 1 - p), 0)  # rand is below 1: nothing is kept at p = 1
        return weighed * factor.unsqueeze(-1)


def drop_probability(flat: Tensor, importance: Tensor, batch: bool) -> Tensor:
    """p = 1 - 10/log2(C) cos(importance, row sums of the covariance), from 0 to 1, (B,).

    Args:
        flat: (B, C, N).
        importance: (B, C).
        batch: the cosine's mean over the batch, for all samples. One that is not finite counts as 0, as does that of a
            covariance whose rows add up to 0.

    >>> drop_probability(torch.tensor([[[1.0, -1.0], [1.0, -1.0]]]), torch.tensor([[0.5, 0.5]]), batch=True)
    tensor([0.])
    """
    Xc = centred(flat / safe_unit(largest_entry(flat)))
    rows = (Xc @ Xc.sum(-2).unsqueeze(-1)).squeeze(-1)
    cosine = (unit_length(importance) * unit_length(rows)).sum(-1)
    cosine = torch.where(cosine.isfinite(), cosine, 0)
    if batch:
        cosine = cosine.mean().expand_as(cosine)
    return (1 - 10 / log2(max(flat.shape[1], 2)) * cosine).clamp(0, 1)
