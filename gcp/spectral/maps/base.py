"""What a scalar map of eigenvalues offers, and how it is regularised."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from dataclasses import dataclass, field
from functools import cached_property
from typing import ClassVar

import torch
from torch import Tensor

from gcp.errors import DerivativeError, OptionError
from gcp.options import check_type
from gcp.registry import Registry
from gcp.spectral.maps.differences import second_difference, second_product


class SpectralMap(ABC):
    """A scalar function f, applied to the eigenvalues of a symmetric matrix.

    Attributes:
        name: the key users write.
        nonnegative: whether f lives on lam >= 0 only, so that matrices must be positive semi-definite.
        eps: how far the eigenvalues are moved away from 0 before f sees them; 0: not at all.
        relative: whether eps is in units of the matrix's own mean eigenvalue.
    """

    name: ClassVar[str]
    nonnegative: bool = False
    eps: float = 0.0
    relative: bool = True

    @property
    @abstractmethod
    def at_zero(self) -> float:
        """f(0), maybe infinite."""

    @abstractmethod
    def value(self, eigenvalues: Tensor) -> Tensor:
        """f(lam), elementwise."""

    @abstractmethod
    def derivative(self, eigenvalues: Tensor) -> Tensor:
        """f'(lam), elementwise."""

    @abstractmethod
    def divided_difference(self, a: Tensor, b: Tensor) -> Tensor:
        """(f(a) - f(b))/(a - b) without cancellation, broadcast; f'(a) where a = b."""

    def second_derivative(self, eigenvalues: Tensor) -> Tensor:
        """f''(lam), elementwise; only for maps that are `twice_differentiable`."""
        raise DerivativeError(f"{self.name} has no second derivative: its map defines none")

    def second_divided_difference(self, a: Tensor, b: Tensor, c: Tensor) -> Tensor:
        """f[a, b, c] without cancellation, broadcast and symmetric; f''(a)/2 where all are equal."""
        return second_difference(self.divided_difference, self.second_derivative, a, b, c)

    def second_product(self, eigenvalues: Tensor, A: Tensor, B: Tensor) -> Tensor:
        """M_ij = sum_k f[i, k, j] A_ik B_kj of ``eigenvalues`` (..., n) and (..., n, n); infinite weights are 0.

        In an eigenbasis the second derivative of f(P) in two directions A and B is M + M^T.
        """
        return second_product(self.second_divided_difference, eigenvalues, A, B)

    @property
    def twice_differentiable(self) -> bool:
        """Whether `second_derivative` is that of this very map: not of one that a subclass made another f of."""
        owner = {
            name: next(cls for cls in type(self).__mro__ if name in vars(cls))
            for name in ("value", "derivative", "divided_difference", "second_derivative")
        }
        second = owner.pop("second_derivative")
        return second is not SpectralMap and all(issubclass(second, cls) for cls in owner.values())

    @property
    def parameter(self) -> Tensor | None:
        """The scalar tensor that f depends on, or None."""
        return None

    def parameter_derivative(self, eigenvalues: Tensor) -> Tensor:
        """df(lam)/dparameter, elementwise; only for maps that have a parameter."""
        raise NotImplementedError(f"{self.name} has no parameter")

    def with_parameter(self, parameter: Tensor) -> SpectralMap:
        """This map with another value of its parameter; only for maps that have one."""
        raise NotImplementedError(f"{self.name} has no parameter")

    @property
    def finite_at_zero(self) -> bool:
        """Whether null eigenvalues have a finite image: by f itself, or because eps keeps them away from 0."""
        return self.eps > 0 or abs(self.at_zero) < math.inf

    @property
    def vanishes_at_zero(self) -> bool:
        """Whether null eigenvalues stay null, so that f(P) has the rank of P."""
        return self.eps == 0 and self.at_zero == 0

    @property
    def shifts(self) -> bool:
        """Whether `shift` adds anything."""
        return self.eps > 0

    @property
    def degree(self) -> float | Tensor | None:
        """d of f(c lam) = c^d f(lam) for all c > 0, or None where f does not scale so."""
        return None

    @cached_property
    def singular_at_zero(self) -> bool:
        """Whether f or its slope is infinite at 0."""
        slope = self.derivative(torch.zeros(1, dtype=torch.float64))
        return not (abs(self.at_zero) < math.inf and bool(slope.isfinite()))

    @property
    def relative_shift(self) -> float:
        """eps where it is relative, so that the shift depends on the matrix; otherwise 0."""
        return self.eps if self.relative else 0.0

    def shift(self, eigenvalues: Tensor, channels: int) -> Tensor | None:
        """What is added to the eigenvalues (..., n) of a matrix of size ``channels``: (..., 1), or None."""
        if self.eps == 0:
            return None
        if not self.relative:
            return torch.full_like(eigenvalues[..., :1], self.eps)
        mean = eigenvalues.sum(-1, keepdim=True) / channels
        # The zero matrix has no scale of its own; 1 keeps its image finite.
        return self.eps * torch.where(mean > 0, mean, 1)


@dataclass(frozen=True)
class RegularisedMap(SpectralMap):
    """A map on lam >= 0 that is, or whose derivative is, infinite at 0: it is applied to lam + shift.

    Args:
        eps: size of the shift, at least 0.
        relative: shift = eps * trace(P)/C, C the size of P, so that the result scales with P exactly as f does
            (eps * 1 for P = 0), and the gradient includes the trace's; otherwise shift = eps, as in `BatchNorm2d`.

    Raises:
        OptionError: eps negative, or not finite.
    """

    eps: float = field(default=0.0, kw_only=True)
    relative: bool = field(default=True, kw_only=True)

    nonnegative = True

    def __post_init__(self) -> None:
        check_type("eps", self.eps, float)
        check_type("relative", self.relative, bool)
        if not 0 <= self.eps < math.inf:
            raise OptionError(f"eps must be at least 0 and finite, got {self.eps}")

    @property
    def degree(self) -> float | Tensor | None:
        """That of `pure_degree`, unless the shift does not scale."""
        return self.pure_degree if self.eps == 0 or self.relative else None

    @property
    def pure_degree(self) -> float | Tensor | None:
        """`degree` of f without the shift."""
        return None


MAPS: Registry[type[SpectralMap]] = Registry("spectral function")
