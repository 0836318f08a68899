"""Which layers stand before a covariance."""

from __future__ import annotations

from torch import nn

from gcp.pooling.average import AveragePooling
from gcp.pooling.factory import ReducedPooling
from gcp.whitening import Whitening


def layers_before_covariance(model: nn.Module) -> dict[str, nn.Conv2d]:
    """The convolution before each `Whitening`, and that of a channel reduction before pooling; by name, in order.

    Average pooling has no covariance.

    >>> from gcp.model import create_model
    >>> tiny = {"width": 8, "whitening": "first"}
    >>> list(layers_before_covariance(create_model("tiny", "pade", 5, reduced_channels=4, backbone_options=tiny)))
    ['features.0', 'representation.reduction.0']
    """
    found: dict[str, nn.Conv2d] = {}
    last: tuple[str, nn.Conv2d] | None = None
    for name, module in model.named_modules():
        if isinstance(module, nn.Conv2d):
            last = (name, module)
        elif isinstance(module, Whitening) and last is not None:
            found[last[0]] = last[1]
        elif isinstance(module, ReducedPooling) and not isinstance(module.pooling, AveragePooling):
            convolution = module.reduction.get_submodule("0")
            assert isinstance(convolution, nn.Conv2d)
            found[f"{name}.reduction.0"] = convolution
    return found
