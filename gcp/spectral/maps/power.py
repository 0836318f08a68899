"""Powers, with an exponent that may be learned."""

from __future__ import annotations

import dataclasses
import math
from dataclasses import dataclass

import torch
from torch import Tensor

from gcp.errors import OptionError
from gcp.spectral.maps.base import RegularisedMap


@dataclass(frozen=True, eq=False)
class Power(RegularisedMap):
    """f(lam) = lam^alpha (MPN-COV's power normalisation, arXiv 1703.08050, section 3.2).

    Args:
        alpha: a finite number, or a tensor of one element, which receives its gradient if it requires one. A
            negative one needs eps, or matrices of full rank.
        positive: alpha is known to be above 0, so that a tensor need not be looked into, which a traced
            program cannot.
        eps, relative: see `RegularisedMap`.

    Raises:
        OptionError: alpha is no finite number.
    """

    alpha: float | Tensor
    positive: bool = False

    name = "power"

    def __post_init__(self) -> None:
        super().__post_init__()
        if isinstance(self.alpha, Tensor):
            if self.alpha.numel() != 1 or not self.alpha.is_floating_point():
                raise OptionError(
                    f"alpha must be one floating-point number, got a {self.alpha.dtype} tensor of shape "
                    f"{tuple(self.alpha.shape)}"
                )
        elif isinstance(self.alpha, bool) or not isinstance(self.alpha, (int, float)) or not math.isfinite(self.alpha):
            raise OptionError(f"alpha must be a finite number or a scalar tensor, got {self.alpha!r}")

    @property
    def exponent(self) -> float | Tensor:
        """Alpha without its history, with no dimensions so that it never decides the result's dtype."""
        return self.alpha.detach().reshape(()) if isinstance(self.alpha, Tensor) else self.alpha

    @property
    def parameter(self) -> Tensor | None:
        """Alpha, if it is a tensor."""
        return self.alpha if isinstance(self.alpha, Tensor) else None

    def with_parameter(self, parameter: Tensor) -> Power:
        """The same power with that exponent."""
        return dataclasses.replace(self, alpha=parameter)

    @property
    def at_zero(self) -> float:
        """0 for a positive exponent, 1 for 0, infinite for a negative one."""
        if self.positive:
            return 0.0
        alpha = float(self.exponent)
        return 0.0 if alpha > 0 else 1.0 if alpha == 0 else math.inf

    @property
    def pure_degree(self) -> float | Tensor:
        """Alpha, with its history."""
        return self.alpha

    def value(self, eigenvalues: Tensor) -> Tensor:
        """lam^alpha."""
        return eigenvalues**self.exponent

    def derivative(self, eigenvalues: Tensor) -> Tensor:
        """alpha lam^(alpha - 1); infinite at 0 for alpha < 1."""
        return self.exponent * eigenvalues ** (self.exponent - 1)

    def divided_difference(self, a: Tensor, b: Tensor) -> Tensor:
        """larger^(alpha - 1) (1 - x^alpha)/(1 - x), x = smaller/larger, by expm1(alpha log(x))."""
        larger = torch.maximum(a, b)
        g = (a - b).abs() / larger
        # log1p for x near 1, where the ratio has lost the gap; the ratio for x near 0, where 1 - g has lost x. Finite
        # also for x = 0, or alpha = 0 would multiply infinity.
        log_ratio = torch.where(g < 0.5, torch.log1p(-g), (torch.minimum(a, b) / larger).log())
        log_ratio = log_ratio.clamp(min=torch.finfo(g.dtype).min)
        quotient = torch.where(g == 0, self.exponent, -torch.expm1(self.exponent * log_ratio) / g)
        return larger ** (self.exponent - 1) * quotient

    def second_derivative(self, eigenvalues: Tensor) -> Tensor:
        """alpha (alpha - 1) lam^(alpha - 2); 0 everywhere for the exponents 0 and 1."""
        factor = self.exponent * (self.exponent - 1)
        curvature = factor * eigenvalues ** (self.exponent - 2)
        return torch.where(torch.as_tensor(factor, device=eigenvalues.device) == 0, 0, curvature)

    def parameter_derivative(self, eigenvalues: Tensor) -> Tensor:
        """lam^alpha log(lam), 0 at 0."""
        logarithm = torch.where(eigenvalues > 0, eigenvalues, 1).log()
        return torch.where(eigenvalues > 0, self.value(eigenvalues), 0) * logarithm
