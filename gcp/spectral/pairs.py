"""Pairs of eigenvalues: what a method's weight or quotient is a function of."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from gcp.rounding import rounding_floor


class Pairs:
    """Eigenvalues and what there is to say of two of them.

    Attributes:
        eigenvalues: (..., n), the last one stands for the null space.
        tied: (..., n, n) bool, pairs of eigenvalues that cannot be told apart; the diagonal is tied.
        channels: C, the size of the matrices.
    """

    eigenvalues: Tensor
    tied: Tensor
    channels: int

    @property
    def nonnegative(self) -> bool:
        """Whether no eigenvalue is negative."""
        raise NotImplementedError

    @property
    def rank(self) -> Tensor:
        """Their places in descending order of magnitude, of a and -a the positive one first, (..., n) or (n,)."""
        return torch.arange(self.eigenvalues.shape[-1], device=self.eigenvalues.device)

    @property
    def rows(self) -> Tensor:
        """lam_i as (..., n, 1)."""
        return self.eigenvalues.unsqueeze(-1)

    @property
    def columns(self) -> Tensor:
        """lam_j as (..., 1, n)."""
        return self.eigenvalues.unsqueeze(-2)

    @property
    def null(self) -> Tensor:
        """The eigenvalue of the null space, (..., 1)."""
        return self.eigenvalues[..., -1:]

    @property
    def largest(self) -> Tensor:
        """The largest magnitude, (..., 1, 1)."""
        return self.eigenvalues.abs().amax(-1, keepdim=True).unsqueeze(-1)

    @property
    def larger(self) -> Tensor:
        """The one of lam_i, lam_j that is larger in magnitude, (..., n, n); of a and -a, the positive one."""
        if self.nonnegative:
            return torch.maximum(self.rows, self.columns)
        return torch.where(self.row_first, self.rows, self.columns)

    @property
    def smaller(self) -> Tensor:
        """The other one of the pair, (..., n, n)."""
        if self.nonnegative:
            return torch.minimum(self.rows, self.columns)
        return torch.where(self.row_first, self.columns, self.rows)

    @property
    def row_first(self) -> Tensor:
        """Where lam_i is the larger one, or the same, (..., n, n) or (n, n)."""
        rank = self.rank
        return rank.unsqueeze(-1) <= rank.unsqueeze(-2)

    @property
    def gap(self) -> Tensor:
        """lam_i - lam_j, (..., n, n)."""
        return self.rows - self.columns

    def ratio_power(self, exponent: int) -> Tensor:
        """x^exponent with x = smaller/larger, (..., n, n); precise for x near 1, NaN where both are 0.

        0 for eigenvalues of opposite signs: their gap is no smaller than either, so nothing there is to be damped, and
        at x = -1 a power series would not converge.
        """
        power = self._log_power(exponent).exp_()
        return power if self.nonnegative else power.masked_fill_(self._opposite, 0)

    def complement_of_power(self, exponent: int) -> Tensor:
        """1 - x^exponent, as `ratio_power`; precise for x near 1, where it is small."""
        complement = self._log_power(exponent).expm1_().neg_()
        return complement if self.nonnegative else complement.masked_fill_(self._opposite, 1)

    def _log_power(self, exponent: int) -> Tensor:
        """exponent * log|x|."""
        size = self.eigenvalues if self.nonnegative else self.eigenvalues.abs()
        rows, columns = size.unsqueeze(-1), size.unsqueeze(-2)
        return (rows - columns).abs_().div_(torch.maximum(rows, columns)).neg_().log1p_().mul_(exponent)

    @property
    def _opposite(self) -> Tensor:
        """Pairs of opposite signs, (..., n, n)."""
        return (self.rows < 0) ^ (self.columns < 0)


@dataclass(frozen=True)
class Levels(Pairs):
    """`Pairs` without a function of them, in any order: what eigenvectors and singular vectors are differentiated by.

    Attributes:
        signed: whether eigenvalues may be negative.
    """

    eigenvalues: Tensor
    tied: Tensor
    channels: int
    signed: bool

    @property
    def nonnegative(self) -> bool:
        """Whether no eigenvalue is negative."""
        return not self.signed

    @property
    def rank(self) -> Tensor:
        """See `Pairs`."""
        if not self.signed:
            return super().rank
        others = self.eigenvalues[..., :-1].flip(-1)  # of a and -a the positive one first
        order = others.shape[-1] - 1 - others.abs().argsort(dim=-1, descending=True, stable=True)
        return torch.nn.functional.pad(order.argsort(dim=-1), (0, 1), value=others.shape[-1])


def levels(eigenvalues: Tensor, channels: int, signed: bool, floor: Tensor, root_floor: Tensor | None = None) -> Levels:
    """What a method's quotient needs to know of ``eigenvalues`` (..., n); 0 is appended.

    Args:
        eigenvalues: descending, or, if ``signed``, ascending.
        channels: the size of the matrices.
        signed: whether eigenvalues may be negative.
        floor: (..., 1), gaps up to which are ties.
        root_floor: the same for gaps of their square roots.

    >>> levels(torch.tensor([4.0, 1.0]), 2, False, torch.tensor([1e-6])).gap[0]
    tensor([0., 3., 4.])
    """
    padded = with_null(eigenvalues)
    tied = within(padded, floor)
    if root_floor is not None:
        tied = tied | within(padded.sqrt(), root_floor)
    return Levels(padded, tied, channels, signed)


def with_null(eigenvalues: Tensor) -> Tensor:
    """``eigenvalues`` (..., n) with the null space's 0 behind them, (..., n + 1).

    >>> with_null(torch.tensor([4.0, 1.0]))
    tensor([4., 1., 0.])
    """
    return torch.constant_pad_nd(eigenvalues, (0, 1))


def ties(descending: Tensor, channels: int, positions: int) -> Tensor:
    """Pairs (..., n, n) of values (..., n) whose gap is rounding of the largest, the first.

    >>> ties(torch.tensor([1.0, 1.0 - 1e-7, 0.5]), 3, 3)[0]
    tensor([ True,  True, False])
    """
    return within(descending, rounding_floor(descending, channels, positions))


def within(values: Tensor, floor: Tensor) -> Tensor:
    """Pairs (..., n, n) of values (..., n) that are no further apart than floor (..., 1).

    >>> within(torch.tensor([1.0, 0.5]), torch.tensor([0.1]))
    tensor([[ True, False],
            [False,  True]])
    """
    return (values.unsqueeze(-1) - values.unsqueeze(-2)).abs_() <= floor.unsqueeze(-1)
