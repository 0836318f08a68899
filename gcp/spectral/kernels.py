"""From a method's D, which stands for 1/(lam_i - lam_j), to its L, and back: no method says both. Free of torch.

A method gives one of two things, functions of `gcp.spectral.pairs.Pairs` and its options, (..., n, n), whose entry
(i, j) is about the cotangent of vector i:

* ``quotient``: D itself, literally, with its rounding;
* ``weight``: w = D (lam_i - lam_j), of which L is made without cancellation.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from gcp.registry import resolve

if TYPE_CHECKING:
    from torch import Tensor

    from gcp.spectral.loewner import Spectrum
    from gcp.spectral.pairs import Pairs

PairFunction = str | Callable[..., Any]


@dataclass(frozen=True)
class QuotientKernel:
    """L = D (f(lam_i) - f(lam_j)), with the limits at ties; D is antisymmetric."""

    quotient: PairFunction

    def __call__(self, spectrum: Spectrum, options: Any) -> Tensor:
        """L, (..., n, n)."""
        D: Tensor = resolve(self.quotient)(spectrum, options)
        return spectrum.with_limits(spectrum.value_gap() * D)


@dataclass(frozen=True)
class WeightKernel:
    """L = w f[lam_i, lam_j], with the limits at ties; w is symmetric."""

    weight: PairFunction

    def __call__(self, spectrum: Spectrum, options: Any) -> Tensor:
        """L, (..., n, n)."""
        w: Tensor = resolve(self.weight)(spectrum, options)
        return spectrum.with_limits(w * spectrum.divided_differences())


def vector_quotient(pairs: Pairs, options: Any, weight: PairFunction | None, quotient: PairFunction | None) -> Tensor:
    """D of a method that gives a weight or a quotient, 0 at ties, (..., n, n).

    >>> import torch
    >>> from gcp.spectral.pairs import levels
    >>> pairs = levels(torch.tensor([4.0, 1.0]), 2, False, torch.tensor([1e-6]))
    >>> vector_quotient(pairs, None, lambda pairs, options: 0.75, None)[0]
    tensor([0.0000, 0.2500, 0.1875])
    """
    D: Tensor = resolve(weight)(pairs, options) / pairs.gap if quotient is None else resolve(quotient)(pairs, options)
    return D.masked_fill(pairs.tied, 0)
