"""Whitening that is no longer trained: a matrix and a vector, for files that run elsewhere."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from gcp.autograd import without_autocast
from gcp.features import working
from gcp.functions import matrix_function
from gcp.moments import by_channel, by_sample
from gcp.whitening import Whitening


class FixedWhitening(nn.Module):
    """What a `Whitening` does in eval mode, y = A (x - mean) + shift; matrix products and nothing else.

    Args:
        layer: the layer, which has running statistics.

    >>> layer = Whitening(4).eval()
    >>> x = torch.randn(8, 4)
    >>> torch.equal(FixedWhitening(layer)(x), layer(x))
    True
    """

    def __init__(self, layer: Whitening) -> None:
        super().__init__()
        assert layer.running_mean is not None
        assert layer.running_covariance is not None
        self.groups = layer.groups
        with torch.no_grad():
            self.register_buffer("matrix", matrix_function(layer.running_covariance, layer.prepared))
            self.register_buffer("mean", layer.running_mean.view(self.groups, -1, 1).clone())
            for name in ("weight", "bias"):
                value: Tensor | None = getattr(layer, name)
                self.register_buffer(name, None if value is None else value.detach().clone())

    def forward(self, features: Tensor) -> Tensor:
        """(B, C, ...), whitened, in the same shape, dtype and memory format."""
        matrix, mean, weight, bias = (getattr(self, name) for name in ("matrix", "mean", "weight", "bias"))
        with without_autocast(features):
            values = working(features)
            kind = values.dtype
            whitened = by_sample(matrix.to(kind) @ (by_channel(values, self.groups) - mean.to(kind)), features)
            per_channel = (-1,) + (1,) * (features.dim() - 2)
            whitened = whitened if weight is None else whitened * weight.view(per_channel)
            whitened = whitened if bias is None else whitened + bias.view(per_channel)
        return whitened.to(features.dtype)


def fix_whitening(model: nn.Module) -> None:
    """Put a `FixedWhitening` in the place of every `Whitening` in ``model`` that has running statistics.

    Where samples that are not finite are set to 0 the layer stays.

    >>> network = nn.Sequential(nn.Conv2d(3, 4, 1), Whitening(4)).eval()
    >>> fix_whitening(network)
    >>> type(network[1]).__name__
    'FixedWhitening'
    """
    for path, module in list(model.named_modules(remove_duplicate=False)):
        if isinstance(module, Whitening) and path and module.running_covariance is not None:
            if module.prepared.options.nonfinite == "zero":
                continue
            parent, _, child = path.rpartition(".")
            setattr(model.get_submodule(parent), child, FixedWhitening(module))
