"""Global average pooling; the layer is `gcp.pooling.average`."""

from dataclasses import dataclass

from gcp.methods.table import register_method
from gcp.options import Options


@dataclass(frozen=True)
class AverageOptions(Options):
    """Global average pooling has nothing to set."""


register_method(
    "average",
    options=AverageOptions,
    layer="gcp.pooling.average:AveragePooling",
    reduced_channels=None,
    summary="global average pooling, the first-order baseline",
    source="Lin et al., ICLR 2014 (arXiv 1312.4400)",
)
