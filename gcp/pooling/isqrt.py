"""iSQRT-COV pooling."""

from __future__ import annotations

from torch import Tensor, nn

from gcp.features import centred, check_channels, flat_features, working
from gcp.methods import IsqrtOptions, MethodInfo
from gcp.pooling.covariance import described
from gcp.pooling.triangle import Vectorisation
from gcp.roots.isqrt import NewtonSchulzRoot


class IsqrtPooling(nn.Module):
    """The covariance's square root by Newton-Schulz: (B, C, H, W) to (B, out_features) (arXiv 1712.01034).

    Matrix products only, of the smaller of positions x positions and C x C matrices, in the dtype of the features,
    float32 at least, outside autocast. Small eigenvalues have not converged after few iterations; that is part of the
    method. Samples with NaN stay NaN and leave the others alone. Raises ShapeError for a map of one position.
    """

    def __init__(self, in_channels: int, info: MethodInfo, options: IsqrtOptions) -> None:
        super().__init__()
        self.in_channels = in_channels
        self.options = options
        self.vectorise = Vectorisation(in_channels, options.vectorisation)
        self.out_features = self.vectorise.out_features

    def forward(self, features: Tensor) -> Tensor:
        """(B, C, H, W) to (B, out_features)."""
        check_channels(features, self.in_channels)
        Xc = centred(working(flat_features(features)))
        vector: Tensor = self.vectorise(NewtonSchulzRoot.apply(Xc, self.options.iterations))
        return vector.to(features.dtype)

    def extra_repr(self) -> str:
        """Method and options."""
        return described("isqrt", self.options)
