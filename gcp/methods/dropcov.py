"""DropCov: channels dropped before a plain covariance; the layer is `gcp.pooling.dropcov`."""

from dataclasses import dataclass

from gcp.methods.table import register_method
from gcp.options import option
from gcp.spectral.spectral_options import EstimateOptions


@dataclass(frozen=True)
class DropCovOptions(EstimateOptions):
    """Options of `dropcov`."""

    probability: str = option(
        "batch",
        "of dropping a channel in training: batch, one for all samples, from their mean, as published; sample, each "
        "sample's own, so that none influences another",
        choices=("batch", "sample"),
    )


register_method(
    "dropcov",
    options=DropCovOptions,
    layer="gcp.pooling.dropcov:DropCovPooling",
    summary="DropCov: adaptive channel dropout, then the covariance itself",
    source="Wang et al., NeurIPS 2022 (DropCov)",
)
