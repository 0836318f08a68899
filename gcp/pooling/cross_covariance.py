"""Cross-covariances of two linear maps of the features, in heads, with a power of their singular values."""

from __future__ import annotations

from torch import Tensor, nn

from gcp.errors import NonFiniteError
from gcp.estimate import weighted_columns
from gcp.features import check_channels, full_product
from gcp.linalg import singular_function
from gcp.methods import MethodInfo
from gcp.methods.cross_covariance import CrossCovarianceOptions
from gcp.pooling.base import described
from gcp.scaling import largest_entry, safe_unit
from gcp.spectral.maps import Power


class CrossCovariancePooling(nn.Module):
    """So-ViT's head for visual tokens (arXiv 2104.10935): (B, C, H, W) to (B, heads width^2).

    For each head two linear maps of the channels, Q and K (width, N), not centred; Q K^T/N = U S V^T; the head gives
    U S^alpha V^T, entry after entry. The power is exact, where the authors iterate, and so is its gradient, at equal
    singular values too. For alpha = 0.5 the result scales as the features do. A sample that is 0 gives 0.

    Attributes:
        query, key: the maps of all heads, (heads width, C), without bias.

    Raises, when called, NonFiniteError for NaN or infinity.
    """

    def __init__(self, in_channels: int, info: MethodInfo, options: CrossCovarianceOptions) -> None:
        super().__init__()
        self.in_channels = in_channels
        self.options = options
        self.out_features = options.heads * options.width**2
        self.power = Power(options.alpha)
        self.query = nn.Linear(in_channels, options.heads * options.width, bias=False)
        self.key = nn.Linear(in_channels, options.heads * options.width, bias=False)

    def forward(self, features: Tensor, weights: Tensor | None = None) -> Tensor:
        """(B, C, H, W) to (B, heads width^2); ``weights`` as in `gcp.pooling.base.MatrixPooling`."""
        check_channels(features, self.in_channels)
        X = weighted_columns(features, weights)
        if weights is None:
            X = X / X.shape[-1] ** 0.5
        unit = safe_unit(largest_entry(X.detach()))
        Q, K = (self._heads(layer, X / unit) for layer in (self.query, self.key))
        try:
            rooted = singular_function(full_product(Q, K.mT), self.power)
        except NonFiniteError as error:
            samples = tuple(sorted({position // self.options.heads for position in error.samples}))
            raise NonFiniteError(f"NaN or infinity in the features of sample {', '.join(map(str, samples))} of "
                                 f"{len(features)}", samples) from None  # fmt: skip
        return (rooted.flatten(1) * unit.squeeze(-1) ** (2 * self.options.alpha)).to(features.dtype)

    def _heads(self, layer: nn.Linear, X: Tensor) -> Tensor:
        """(B, C, N) to (B, heads, width, N)."""
        mapped = full_product(layer.weight.to(X.dtype).expand(X.shape[0], -1, -1), X)
        return mapped.reshape(X.shape[0], self.options.heads, self.options.width, -1)

    def extra_repr(self) -> str:
        """Method and options."""
        return described("cross_covariance", self.options)
