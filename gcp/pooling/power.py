"""A power of the covariance, whose exponent may be learned."""

from __future__ import annotations

import dataclasses
from math import log
from typing import Any

import torch
from torch import Tensor, nn

from gcp.covariance import covariance_root
from gcp.methods import MethodInfo
from gcp.methods.power import PowerOptions
from gcp.pooling.spectral import SpectralPooling, function_method
from gcp.spectral.maps import Power


class PowerPooling(SpectralPooling):
    """P^alpha: (B, C, H, W) to (B, out_features) (arXiv 1703.08050, section 3.2). Raises as `CovariancePooling`.

    Attributes:
        log_alpha: logarithm of the exponent, one parameter, so that the exponent stays positive while it is learned;
            a buffer when it is not. Weight decay pulls the exponent towards 1. A state dict brings its own, learned or
            not.
    """

    log_alpha: Tensor

    def __init__(self, in_channels: int, info: MethodInfo, options: PowerOptions) -> None:
        super().__init__(in_channels, info, options)
        self.learnable = options.learnable
        self.exponent = options.alpha
        self.method = function_method(options, Power(options.alpha))
        start = torch.tensor(log(options.alpha))
        if options.learnable:
            self.log_alpha = nn.Parameter(start)
        else:
            self.register_buffer("log_alpha", start)

    def _load_from_state_dict(self, state_dict: dict[str, Any], prefix: str, *others: Any) -> None:
        """As in ``nn.Module``; an exponent that is not learned, which the method holds as a number, follows."""
        super()._load_from_state_dict(state_dict, prefix, *others)
        stored = state_dict.get(prefix + "log_alpha")
        if self.learnable or not isinstance(stored, Tensor) or stored.is_meta or stored.numel() != 1:
            return
        own = torch.tensor(log(self.exponent), dtype=stored.dtype, device="cpu")
        if stored.cpu() != own:  # otherwise the number itself has more digits
            self.exponent = float(stored.double().exp())
            self.method = dataclasses.replace(self.method, function=Power(self.exponent))

    @property
    def alpha(self) -> Tensor:
        """The exponent, a scalar."""
        return self.log_alpha.exp()

    def estimated(self, features: Tensor, weights: Tensor | None) -> Tensor:
        """(B, C, H, W) to (B, C, C)."""
        method = self.method
        if self.learnable:
            method = dataclasses.replace(method, function=Power(self.alpha, positive=True))
        return covariance_root(features, method, weights)
