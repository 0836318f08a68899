"""The scaling eigen branch, as published and as meant."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from gcp.autograd import ReverseMode, no_derivative, without_autocast
from gcp.covariance import covariance_root, decomposed_root
from gcp.estimate import plain_features
from gcp.features import centred, flat_features, working
from gcp.methods import MethodInfo
from gcp.methods.seb import SEBOptions
from gcp.pooling.base import MatrixPooling
from gcp.pooling.spectral import function_method
from gcp.scaling import in_safe_units
from gcp.spectral.maps import ExpNeg, SquareRoot
from gcp.spectral.maps.base import RegularisedMap


@dataclass(frozen=True)
class AmplifiedRoot(RegularisedMap):
    """f(lam) = sqrt(lam) (1 + exp(-lam)): small eigenvalues twice their root, large ones as they are."""

    name = "amplified_sqrt"
    at_zero = 0.0

    def value(self, eigenvalues: Tensor) -> Tensor:
        """sqrt(lam) (1 + exp(-lam))."""
        return eigenvalues.sqrt() * (1 + ExpNeg().value(eigenvalues))

    def derivative(self, eigenvalues: Tensor) -> Tensor:
        """(1 + exp(-lam))/(2 sqrt(lam)) - sqrt(lam) exp(-lam); infinite at 0."""
        decay = ExpNeg().value(eigenvalues)
        return SquareRoot().derivative(eigenvalues) * (1 + decay) - eigenvalues.sqrt() * decay

    def divided_difference(self, a: Tensor, b: Tensor) -> Tensor:
        """By the product rule, with f = g h: g[a, b] (h(a) + h(b))/2 + (g(a) + g(b))/2 h[a, b]."""
        decay = ExpNeg()
        mean_decay = (decay.value(a) + decay.value(b)) / 2
        mean_root = (a.sqrt() + b.sqrt()) / 2
        return SquareRoot().divided_difference(a, b) * (1 + mean_decay) + mean_root * decay.divided_difference(a, b)


class SEBPooling(MatrixPooling):
    """Scaling eigen branch (arXiv 2205.13282): (B, C, H, W) to (B, out_features). Raises as `CovariancePooling`.

    With Q = P^(1/2) and S = exp(-P), the published branch gives Q + |Q S^T| Q, |.| the Frobenius norm: the whole root
    times one number, so the eigenvalues keep their proportions, and the number depends on the features' scale.
    ``reweight=True`` gives Q + Q S with S = exp(-P/mean), mean = tr(P)/C: eigenvalues well below the mean count twice,
    those well above as before, and the result scales as the features do.
    """

    def __init__(self, in_channels: int, info: MethodInfo, options: SEBOptions) -> None:
        super().__init__(in_channels, info, options)
        self.reweight = options.reweight
        plain = dataclasses.replace(options, centred=True, shrinkage=0.0, ledoit_wolf=False)
        self.method = function_method(plain, AmplifiedRoot() if options.reweight else SquareRoot())

    def estimated(self, features: Tensor, weights: Tensor | None) -> Tensor:
        """(B, C, H, W) to (B, C, C)."""
        return self.matrix(plain_features(features, weights, self.estimate, self.method.working))

    def matrix(self, features: Tensor) -> Tensor:
        """(B, C, H, W) to (B, C, C)."""
        if not self.reweight:
            return self._scaled(features)
        return in_safe_units(self._reweighted, working(flat_features(features)))

    def _scaled(self, features: Tensor) -> Tensor:
        Q, U, eigenvalues = decomposed_root(working(flat_features(features)), self.method)
        norm: Tensor = BranchNorm.apply(Q, U, eigenvalues)
        return Q * (1 + norm)[..., None, None]

    def _reweighted(self, flat: Tensor) -> Tensor:
        finite = flat.isfinite().all(-1).all(-1)[..., None, None]  # what becomes of the others is the method's option
        mean = centred(torch.where(finite, flat, 0)).square().sum((-2, -1), keepdim=True) / flat.shape[-2]
        scale = torch.where(mean == 0, 1, mean).sqrt()
        return covariance_root(flat / scale, self.method) * scale


class BranchNorm(ReverseMode):
    """|Q exp(-Q^2)| from the eigenpairs of Q^2, as a function of Q; its gradient is `BranchNormGradient`."""

    @staticmethod
    def forward(Q: Tensor, U: Tensor, eigenvalues: Tensor) -> Tensor:
        """(B,) from Q (B, C, C), U (B, C, n) and the squares of Q's eigenvalues (B, n)."""
        return (eigenvalues * (-2 * eigenvalues).exp()).sum(-1).sqrt().to(Q.dtype)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Tensor, Tensor, Tensor], output: Tensor) -> None:
        """Keep the eigenpairs and the norm."""
        ctx.save_for_backward(*inputs[1:], output)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None, None]:
        """dℓ/dQ (B, C, C)."""
        return BranchNormGradient.apply(grad, *ctx.saved_tensors), None, None


class BranchNormGradient(ReverseMode):
    """dℓ/dQ = dℓ/dn U diag(q (1 - 2 q^2) exp(-2 q^2)/n) U^T, from Q = U diag(q) U^T and n^2 = sum q^2 exp(-2 q^2).

    The norm is differentiable by Q: that is how a second derivative gets here, and is refused.
    """

    @staticmethod
    def forward(grad: Tensor, U: Tensor, eigenvalues: Tensor, norm: Tensor) -> Tensor:
        """(B, C, C) from dℓ/dn (B,), U (B, C, n), the squares of Q's eigenvalues (B, n), n (B,)."""
        with without_autocast(U):
            slope = eigenvalues.sqrt() * (-2 * eigenvalues).exp() * (1 - 2 * eigenvalues)  # 0, not NaN, for large ones
            weight = torch.where(norm == 0, 0, grad / norm)
            weighted: Tensor = (U * (slope * weight.unsqueeze(-1)).to(U.dtype).unsqueeze(-2)) @ U.mT
        return weighted.to(grad.dtype)

    backward = no_derivative("second derivatives of seb are not implemented")
