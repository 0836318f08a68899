"""iSQRT-COV: the root by the coupled Newton-Schulz iteration; the layer is `gcp.pooling.isqrt`."""

from dataclasses import dataclass

from gcp.methods.table import register_method
from gcp.options import option
from gcp.spectral.spectral_options import EstimateOptions, SquareRootOptions


@dataclass(frozen=True)
class IsqrtOptions(EstimateOptions, SquareRootOptions):
    """Options of `isqrt`."""

    iterations: int = option(5, "Newton-Schulz iterations", minimum=1, maximum=1000)


register_method(
    "isqrt",
    options=IsqrtOptions,
    layer="gcp.pooling.isqrt:IsqrtPooling",
    summary="iSQRT-COV: the root by the coupled Newton-Schulz iteration",
    source="Li et al., CVPR 2018 (arXiv 1712.01034)",
)
