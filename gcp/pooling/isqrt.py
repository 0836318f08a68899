"""iSQRT-COV pooling."""

from __future__ import annotations

from torch import Tensor

from gcp.methods import MethodInfo
from gcp.methods.isqrt import IsqrtOptions
from gcp.pooling.base import RootPooling
from gcp.roots.newton_schulz import NewtonSchulzRoot


class IsqrtPooling(RootPooling):
    """The covariance's square root by Newton-Schulz: (B, C, H, W) to (B, out_features) (arXiv 1712.01034).

    Matrix products only, of the smaller of positions x positions and C x C matrices, in the dtype of the features,
    float32 at least, outside autocast. Small eigenvalues have not converged after few iterations; that is part of the
    method. Samples with NaN stay NaN and leave the others alone. Raises ShapeError for a map of one position.
    """

    def __init__(self, in_channels: int, info: MethodInfo, options: IsqrtOptions) -> None:
        super().__init__(in_channels, info, options)
        self.iterations = options.iterations

    def root(self, Xc: Tensor) -> Tensor:
        """(B, C, N) to (B, C, C)."""
        root: Tensor = NewtonSchulzRoot.apply(Xc, self.iterations)
        return root
