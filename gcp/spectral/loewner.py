"""What every kernel starts from, the spectrum, and what becomes of it, the Loewner matrix.

With dℓ/dP = U (L o (U^T sym(G) U)) U^T (Daleckii-Krein theorem), methods differ in L alone: L(lam_i, lam_j) stands in
for the divided differences of f.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor

from gcp.spectral.maps.base import SpectralMap
from gcp.spectral.pairs import Pairs, ties, with_null


@dataclass(frozen=True)
class Spectrum(Pairs):
    """Eigenvalues of a batch of symmetric matrices, as a kernel sees them: `Pairs` with a function of them.

    Attributes:
        eigenvalues: (..., n), descending (in magnitude, where the map admits negative ones); the last one stands for
            the null space: it is 0, or the map's shift, which every eigenvalue then includes.
        tied: (..., n, n) bool, pairs of eigenvalues that cannot be told apart; the diagonal is tied.
        function: the map f applied to the eigenvalues.
        channels: C, the size of the matrices.
    """

    eigenvalues: Tensor
    tied: Tensor
    function: SpectralMap
    channels: int

    @property
    def nonnegative(self) -> bool:
        """Whether no eigenvalue is negative."""
        return self.function.nonnegative

    @property
    def trace(self) -> Tensor:
        """tr(P), the map's shift included, (..., 1); 1 where P is 0."""
        unlisted = self.channels - (self.eigenvalues.shape[-1] - 1)  # null ones that have no entry of their own
        trace = self.eigenvalues[..., :-1].sum(-1, keepdim=True) + unlisted * self.null
        return trace.where(trace > 0, 1)

    def value_above_null(self, eigenvalues: Tensor) -> Tensor:
        """f(lam) - f(null), elementwise on ``eigenvalues`` (..., n) or (..., n, n); f(lam) where f(0) is infinite.

        f(P) = f(null) I + U diag(f(lam) - f(null)) U^T, and the identity has no eigenvectors to differentiate.
        """
        value = self.function.value(eigenvalues)
        if self.function.vanishes_at_zero or not self.function.finite_at_zero:
            return value
        base = self.function.value(self.null)
        return value - (base if eigenvalues.dim() == base.dim() else base.unsqueeze(-1))

    def divided_differences(self) -> Tensor:
        """f[lam_i, lam_j] without cancellation, (..., n, n)."""
        return self.function.divided_difference(self.rows, self.columns)

    def value_gap(self) -> Tensor:
        """f(lam_i) - f(lam_j), (..., n, n)."""
        value = self.function.value(self.eigenvalues)
        return value.unsqueeze(-1) - value.unsqueeze(-2)

    def with_limits(self, matrix: Tensor) -> Tensor:
        """``matrix`` with limits where a quotient is not defined: f'(lam) between ties, 0 where f'(0) is not finite.

        Ties share one eigenspace, whose basis the decomposition chose at will; a constant L on it keeps the gradient
        independent of that choice. A null space is an eigenspace too: where f is smooth at 0, f'(0) is its exact
        limit, and where f' is infinite there is none, so nothing flows.
        """
        slopes = torch.nan_to_num(self.function.derivative(self.eigenvalues), 0.0, 0.0, 0.0) / 2
        return torch.where(self.tied, slopes.unsqueeze(-1) + slopes.unsqueeze(-2), matrix)


def spectrum(eigenvalues: Tensor, channels: int, positions: int, function: SpectralMap, squared: bool) -> Spectrum:
    """What a kernel needs to know: ``eigenvalues`` (B, n), with the null space appended, and shifted."""
    padded = with_null(eigenvalues)
    resolved = padded if squared else padded.sqrt()  # what the decomposition resolves to its floor
    moved = padded if not function.shifts else shifted(eigenvalues, channels, function)
    tied = ties(resolved, channels, positions)
    if function.shifts:  # what a large shift rounds away is tied, too
        tied = tied | ties(moved, channels, positions)
    return Spectrum(moved, tied, function, channels)


def shifted(eigenvalues: Tensor, channels: int, function: SpectralMap) -> Tensor:
    """What f is applied to, (B, n + 1): ``eigenvalues`` (B, n) and the null space's 0, all moved by the map's shift."""
    padded = with_null(eigenvalues)
    shift = function.shift(eigenvalues, channels)
    return padded if shift is None else padded + shift


class Loewner(NamedTuple):
    """A method's kernel.

    Attributes:
        matrix: L, (..., n, n), symmetric; its last column is L(lam_i, 0).
        trace: (..., n) weights t with which c = sum_i t_i A_ii multiplies the identity in dℓ/dP, or None; the last one
            is for the null space.
    """

    matrix: Tensor
    trace: Tensor | None = None

    def with_shift(self, slopes: Tensor, eps: float, channels: int) -> Loewner:
        """The kernel for P, of this one for M = P + s I with s = eps tr(P)/C.

        dℓ/ds is the trace of dℓ/dM = U (L o A) U^T + c I, so dℓ/dP = dℓ/dM + (eps/C) (sum_i L_ii A_ii + C c) I.

        Args:
            slopes: L_ii, (..., n).
            eps: the relative shift.
            channels: C.
        """
        trace = slopes * (eps / channels)
        if self.trace is not None:
            trace = trace + (1 + eps) * self.trace
        return Loewner(self.matrix, trace)

    def trace_coefficient(self, A: Tensor, G: Tensor) -> Tensor:
        """c of `trace`, (...), from A = U^T sym(G) U (..., n, n) and G (..., C, C)."""
        assert self.trace is not None
        return weighted_trace(self.trace, A.diagonal(dim1=-2, dim2=-1).real, G)


def weighted_trace(weights: Tensor, diagonal: Tensor, G: Tensor) -> Tensor:
    """sum_i w_i A_ii, (...), of weights (..., n + 1), the null space last, A_ii (..., n), and G (..., C, C).

    Of complex G that of its Hermitian part, which is real.
    """
    diagonal = diagonal.real
    rest = G.diagonal(dim1=-2, dim2=-1).sum(-1).real - diagonal.sum(-1)
    return (weights[..., :-1] * diagonal).sum(-1) + weights[..., -1] * rest
