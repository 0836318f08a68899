"""A pooling layer from its name, behind a channel reduction if one is asked for."""

from __future__ import annotations

from inspect import signature
from typing import Any

import torch
from torch import Tensor, nn

from gcp.errors import OptionError
from gcp.features import channels_first, check_channels, check_layout, flat_features
from gcp.methods import METHODS
from gcp.options import check_type, make_options
from gcp.plugins import built_by, size_of
from gcp.position_weights import shares


def create_pooling(
    name: str, in_channels: int, reduced_channels: int | None = None, layout: str = "channels_first", **options: Any
) -> nn.Module:
    """A pooling layer that maps features of any kind, C = ``in_channels``, to (B, out_features).

    Maps (B, C, H, W), sequences (B, C, L), clips (B, C, T, H, W); and tokens (B, N, C), which no shape tells from a
    sequence, with ``layout="tokens"`` alone.

    Args:
        name: one of `list_methods()`.
        in_channels: channels of the feature map, at least 1.
        reduced_channels: channels left by a 1x1 convolution, batch norm and ReLU before pooling; None: no reduction.
        layout: "channels_first", or "tokens" for (B, N, C).
        options: the method's own, see `gcp.methods`.

    Returns:
        a module with the attribute ``out_features``.

    Raises:
        UnknownNameError: no such method; the message has the nearest name.
        OptionError: an option the method does not have, or out of its range.

    >>> import torch
    >>> create_pooling("pade", in_channels=8, reduced_channels=4)(torch.rand(2, 8, 5, 5)).shape
    torch.Size([2, 10])
    """
    info = METHODS.get(name)
    check_type("in_channels", in_channels, int)
    check_type("reduced_channels", reduced_channels, int | None)
    check_layout(layout)
    for what, channels in (("in_channels", in_channels), ("reduced_channels", reduced_channels)):
        if channels is not None and channels < 1:
            raise OptionError(f"{what} must be a whole number of at least 1, got {channels}")
    pooled_channels = in_channels if reduced_channels is None else reduced_channels
    built = make_options(info.options, options, f"method '{name}'")
    pooling: nn.Module = built_by(
        info.layer, f"layer of the method '{name}'", "out_features", pooled_channels, info, built
    )
    if reduced_channels is not None:
        reduction = channel_reduction(in_channels, reduced_channels)
        pooling = ReducedPooling(in_channels, reduction, pooling, size_of(pooling, "out_features"))
    return TokenPooling(pooling, size_of(pooling, "out_features")) if layout == "tokens" else pooling


def channels_left(method: str, channels: int, reduced_channels: int | str | None) -> int | None:
    """How many channels a network reduces its ``channels`` to; None: it pools them all.

    Args:
        method: one of `list_methods()`.
        channels: of the feature map.
        reduced_channels: how many are asked for; "default" for the method's default.

    Raises OptionTypeError for another word.

    >>> channels_left("pade", 512, "default"), channels_left("pade", 64, 256), channels_left("average", 512, "default")
    (256, None, None)
    """
    wanted = METHODS.get(method).reduced_channels if reduced_channels == "default" else reduced_channels
    check_type("reduced_channels", wanted, int | None)
    assert not isinstance(wanted, str)
    return None if wanted is None or wanted > channels else wanted


def channel_reduction(in_channels: int, out_channels: int) -> nn.Sequential:
    """1x1 convolution without bias (Kaiming, fan out), batch norm, ReLU: (B, C, H, W) to (B, C', H, W).

    >>> import torch
    >>> channel_reduction(8, 4)(torch.rand(2, 8, 5, 5)).shape
    torch.Size([2, 4, 5, 5])
    """
    convolution = nn.Conv2d(in_channels, out_channels, kernel_size=1, bias=False)
    nn.init.kaiming_normal_(convolution.weight, mode="fan_out", nonlinearity="relu")
    return nn.Sequential(convolution, nn.BatchNorm2d(out_channels), nn.ReLU(inplace=True))


class ReducedPooling(nn.Module):
    """Channel reduction, then pooling: features of the forms of `flat_features` to (B, out_features)."""

    def __init__(self, in_channels: int, reduction: nn.Module, pooling: nn.Module, out_features: int) -> None:
        super().__init__()
        self.in_channels = in_channels
        self.reduction = reduction
        self.pooling = pooling
        self.out_features = out_features

    def forward(self, features: Tensor, weights: Tensor | None = None) -> Tensor:
        """(B, C, H, W), (B, C, L) or (B, C, T, H, W) to (B, out_features); ``weights`` as the pooling takes them."""
        check_channels(features, self.in_channels)
        if weights is not None:
            present = shares(weights, features, torch.float32).present  # (B, 1, N)
            reduced = self._reduced(flat_features(features, positions=1), present)
            return pooled_with(self.pooling, reduced, weights.flatten(1))
        if features.dim() != 4:
            features = flat_features(features, positions=1).unsqueeze(-1)  # a map one position wide
        pooled: Tensor = self.pooling(self.reduction(features))
        return pooled

    def _reduced(self, flat: Tensor, present: Tensor) -> Tensor:
        """(B, C', N), from what is present alone: it alone makes the statistics of batch normalisation."""
        if not self.training:
            positions: Tensor = self.reduction(torch.where(present, flat, 0).unsqueeze(-1)).squeeze(-1)
            return positions
        there = present.squeeze(1)
        counted = self.reduction(flat.mT[there].T[None, :, :, None])  # one map (1, C, M, 1)
        empty: Tensor = counted.new_zeros(*there.shape, counted.shape[1])
        return empty.index_put((there,), counted[0, :, :, 0].T).mT


class TokenPooling(nn.Module):
    """Pooling of tokens: (B, N, C) to (B, out_features)."""

    def __init__(self, pooling: nn.Module, out_features: int) -> None:
        super().__init__()
        self.pooling = pooling
        self.out_features = out_features

    def forward(self, tokens: Tensor, weights: Tensor | None = None) -> Tensor:
        """(B, N, C) to (B, out_features); ``weights`` (B, N) as the pooling takes them."""
        return pooled_with(self.pooling, channels_first(tokens), weights)


def pooled_with(pooling: nn.Module, features: Tensor, weights: Tensor | None) -> Tensor:
    """``pooling(features, weights)``. Raises OptionError if it takes no weights and is given some.

    >>> pooled_with(nn.Identity(), torch.rand(2, 8, 5), torch.ones(2, 5))
    Traceback (most recent call last):
    gcp.errors.OptionError: Identity takes no weights of positions; call it without
    """
    pooled: Tensor
    if weights is None:
        pooled = pooling(features)
    elif "weights" in signature(pooling.forward).parameters:
        pooled = pooling(features, weights)
    else:
        raise OptionError(f"{type(pooling).__name__} takes no weights of positions; call it without")
    return pooled
