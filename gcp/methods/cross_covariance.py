"""So-ViT's head: cross-covariances of linear maps, power-normalised; the layer is `gcp.pooling.cross_covariance`."""

from dataclasses import dataclass

from gcp.methods.table import register_method
from gcp.options import Options, option


@dataclass(frozen=True)
class CrossCovarianceOptions(Options):
    """Options of `cross_covariance`."""

    heads: int = option(6, "number of cross-covariances", minimum=1)
    width: int = option(16, "rows and columns of each, the length of what the channels are mapped to", minimum=1)
    alpha: float = option(0.5, "exponent of the singular values", above=0)


register_method(
    "cross_covariance",
    options=CrossCovarianceOptions,
    layer="gcp.pooling.cross_covariance:CrossCovariancePooling",
    reduced_channels=None,
    summary="So-ViT: cross-covariances of two linear maps, a few heads, singular values to a power",
    source="Xie et al., 2021 (arXiv 2104.10935)",
)
