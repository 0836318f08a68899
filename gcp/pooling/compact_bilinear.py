"""Compact bilinear pooling."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from gcp.estimate import weighted_columns
from gcp.features import check_channels, second_moment
from gcp.methods import MethodInfo
from gcp.methods.compact_bilinear import CompactBilinearOptions
from gcp.pooling.base import described
from gcp.pooling.bilinear import signed_root, unit_length
from gcp.scaling import largest_entry, safe_unit


class CompactBilinearPooling(nn.Module):
    """Tensor sketch of the second moment, signed square root, unit length: (B, C, H, W) to (B, dimension).

    Inner products of sketches are, on average over hash functions, those of the second moments (arXiv 1511.06062).
    A sample that is 0 gives 0.

    Attributes:
        hashes: (2, C) bins of the channels, in the state dict, so that a checkpoint brings its own hash functions.
        signs: (2, C), 1 or -1, likewise.
    """

    hashes: Tensor
    signs: Tensor

    def __init__(self, in_channels: int, info: MethodInfo, options: CompactBilinearOptions) -> None:
        super().__init__()
        self.in_channels = in_channels
        self.options = options
        self.out_features = options.dimension
        generator = torch.Generator().manual_seed(options.seed)
        size = (2, in_channels)  # drawn on the CPU: the same wherever the layer is built
        hashes = torch.randint(options.dimension, size, generator=generator, device="cpu")
        signs = 2.0 * torch.randint(2, size, generator=generator, device="cpu") - 1
        self.register_buffer("hashes", hashes.to(torch.get_default_device()))
        self.register_buffer("signs", signs.to(torch.get_default_device()))

    def forward(self, features: Tensor, weights: Tensor | None = None) -> Tensor:
        """(B, C, H, W) to (B, dimension); ``weights`` as in `gcp.pooling.base.MatrixPooling`."""
        check_channels(features, self.in_channels)
        X = weighted_columns(features, weights)
        X = X / safe_unit(largest_entry(X.detach()))
        channels, positions = X.shape[-2:]
        # Numbers to add up: one for each pair of channels, or one for each position and bin.
        sketch = sketch_of_moment if channels**2 <= positions * self.out_features else sketch_by_fft
        sketched = sketch(X, self.hashes, self.signs.to(X.dtype), self.out_features)
        energy = X.square().sum((-2, -1)).unsqueeze(-1) / channels
        return unit_length(signed_root(sketched, energy, self.options.eps)).to(features.dtype)

    def extra_repr(self) -> str:
        """Method and options."""
        return described("compact_bilinear", self.options)


def sketch_by_fft(X: Tensor, hashes: Tensor, signs: Tensor, dimension: int) -> Tensor:
    """Sum over positions of the circular convolution of two count sketches, by a batched FFT.

    Args:
        X: (B, C, N), float32 or float64.
        hashes: (2, C) bins.
        signs: (2, C), in the dtype of X.
        dimension: d, the number of bins.

    Returns:
        (B, d).
    """
    by_position = X.mT
    empty = by_position.new_zeros((*by_position.shape[:-1], dimension))
    first, second = (
        torch.fft.rfft(empty.index_add(-1, bins, by_position * sign)) for bins, sign in zip(hashes, signs, strict=True)
    )
    sketch: Tensor = torch.fft.irfft((first * second).sum(-2), n=dimension)
    return sketch


def sketch_of_moment(X: Tensor, hashes: Tensor, signs: Tensor, dimension: int) -> Tensor:
    """The same, from the second moment: the sketch is linear in it, entry (i, j) going to bin h1(i) + h2(j) mod d."""
    signed = second_moment(X) * (signs[0].unsqueeze(-1) * signs[1])
    bins = (hashes[0].unsqueeze(-1) + hashes[1]) % dimension
    return X.new_zeros((X.shape[0], dimension)).index_add(-1, bins.flatten(), signed.flatten(-2))
