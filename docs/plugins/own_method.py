"""A pooling method of one's own: gradients between close eigenvalues are damped by a fixed factor."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from gcp import register_method
from gcp.options import option
from gcp.spectral.spectral_options import SpectralOptions

if TYPE_CHECKING:  # torch is imported when the kernel runs: help and wrong options answer at once
    from torch import Tensor

    from gcp.spectral.pairs import Pairs


@dataclass(frozen=True)
class DampedOptions(SpectralOptions):
    """Options of `damped`, beside those of all spectral methods."""

    strength: float = option(0.5, "what is taken from the gradient between equal eigenvalues", minimum=0, maximum=1)


def damped(pairs: Pairs, options: DampedOptions) -> Tensor:
    """w = 1 - strength x, x = smaller/larger of the pair: a weight on the exact divided difference."""
    return 1 - options.strength * pairs.ratio_power(1)


register_method(
    "damped",
    options=DampedOptions,
    weight=damped,
    summary="exact, but damped where eigenvalues are close",
    source="docs/plugins.md",
)
