"""Only the largest eigenvalues count, in value and in gradient."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from gcp.errors import OptionError
from gcp.methods.original import original
from gcp.methods.table import register_method
from gcp.options import option
from gcp.spectral.kernels import QuotientKernel
from gcp.spectral.spectral_options import SpectralOptions

if TYPE_CHECKING:
    from torch import Tensor

    from gcp.spectral.loewner import Spectrum
    from gcp.spectral.pairs import Pairs


@dataclass(frozen=True)
class TopNOptions(SpectralOptions):
    """Options of `topn`."""

    n: int | None = option(None, "number of eigenvalues kept, at most the number of channels", minimum=1)
    fraction: float | None = option(
        None, "fraction of the eigenvalues kept; without n and fraction, 206/256 as published", above=0, maximum=1
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.n is not None and self.fraction is not None:
            raise OptionError(f"topn takes n or fraction, not both; got n={self.n} and fraction={self.fraction}")

    def kept(self, channels: int) -> int:
        """Number of eigenvalues kept of ``channels``."""
        if self.n is not None:
            return self.n
        fraction = 206 / 256 if self.fraction is None else self.fraction
        return max(1, round(fraction * channels))

    def check_channels(self, channels: int) -> None:
        """Raise OptionError if more eigenvalues are to be kept than there are channels."""
        if self.n is not None and self.n > channels:
            raise OptionError(
                f"topn cannot keep n={self.n} eigenvalues of a covariance of {channels} channels; "
                f"set n to {channels} or less, or use fraction"
            )


def kept(pairs: Pairs, options: TopNOptions) -> Tensor:
    """Mask (..., n) of the eigenvalues kept: the largest ones, and those tied with the last of them.

    Cutting through an eigenspace would make the result depend on the basis the decomposition chose for it.

    >>> import torch
    >>> from gcp.spectral.loewner import spectrum
    >>> from gcp.spectral.maps import SquareRoot
    >>> kept(spectrum(torch.tensor([[4.0, 1.0]]), 2, 3, SquareRoot(), squared=True), TopNOptions(n=1))
    tensor([[ True, False, False]])
    """
    last = min(options.kept(pairs.channels), pairs.eigenvalues.shape[-1]) - 1
    rank = pairs.rank
    tied = (pairs.tied & (rank == last).unsqueeze(-2)).any(-1)
    return ((rank <= last) | tied) & (pairs.eigenvalues != pairs.null)


def quotient(pairs: Pairs, options: TopNOptions) -> Tensor:
    """D of `original` among kept pairs; 1/lam on a kept vector's cotangent towards what is dropped, on whose own 0.

    >>> import torch
    >>> from gcp.spectral.pairs import levels
    >>> quotient(levels(torch.tensor([4.0, 1.0]), 2, False, torch.tensor([1e-6])), TopNOptions(n=1))[0, 1]
    tensor(0.2500)
    """
    mask = kept(pairs, options)
    towards_null = (pairs.rows - pairs.null.unsqueeze(-1)).reciprocal()
    D = original(pairs, options).where(mask.unsqueeze(-2), towards_null)
    return D.masked_fill(~mask.unsqueeze(-1), 0)


def topn(spectrum: Spectrum, options: TopNOptions) -> Tensor:
    """L of `original` among kept pairs, f[lam, 0] between kept and dropped, 0 among dropped (arXiv 2105.02498).

    Not the derivative of the cut: dropped eigenvalues count as null and receive no gradient of their own. f[lam, 0]
    is f(lam)/lam for the square root and (f(lam) - f(0))/lam in general.

    The gradient of the root's entry (0, 1) at diag(4, 1) is L(4, 1)/2, L = f[4, 0]:

    >>> import gcp, torch
    >>> P = torch.diag(torch.tensor([4.0, 1.0])).requires_grad_()
    >>> gcp.spectral_function(P, "sqrt", "topn", n=1)[0, 1].backward()
    >>> round(P.grad[0, 1].item(), 4)
    0.25
    """
    mask = kept(spectrum, options)
    dropped = ~mask
    across = spectrum.function.divided_difference(spectrum.larger, spectrum.null.unsqueeze(-1))
    one_kept = mask.unsqueeze(-1) ^ mask.unsqueeze(-2)
    matrix = across.where(one_kept, QuotientKernel(original)(spectrum, options))
    return matrix.masked_fill(dropped.unsqueeze(-1) & dropped.unsqueeze(-2), 0)


register_method(
    "topn",
    options=TopNOptions,
    kernel=topn,
    quotient=quotient,
    keep=kept,
    summary="the largest eigenvalues only, in value and gradient",
    source="Song et al., ICCV 2021 (arXiv 2105.02498)",
)
