"""A power of the covariance; the layer is `gcp.pooling.power`."""

from dataclasses import dataclass

from gcp.methods.table import KernelOptions, register_method
from gcp.options import option


@dataclass(frozen=True)
class PowerOptions(KernelOptions):
    """Options of `power`."""

    alpha: float = option(0.5, "the exponent, or what it is before training", above=0)
    learnable: bool = option(True, "learn the exponent")


register_method(
    "power",
    options=PowerOptions,
    layer="gcp.pooling.power:PowerPooling",
    summary="a power of the covariance, with a learnable exponent",
    source="MPN-COV, Li et al., ICCV 2017 (arXiv 1703.08050)",
)
