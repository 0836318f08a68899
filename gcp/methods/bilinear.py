"""B-CNN; the layer is `gcp.pooling.bilinear`."""

from dataclasses import dataclass

from gcp.methods.table import register_method
from gcp.options import option
from gcp.spectral.spectral_options import CovarianceOptions

EPS_HELP = "m/sqrt(|m| + eps) stands for the signed square root; in units of a channel's mean energy"


@dataclass(frozen=True)
class BilinearOptions(CovarianceOptions):
    """Options of `bilinear`."""

    eps: float = option(1e-8, EPS_HELP, above=0)


register_method(
    "bilinear",
    options=BilinearOptions,
    layer="gcp.pooling.bilinear:BilinearPooling",
    summary="B-CNN: second moment, signed square root, l2 norm",
    source="Lin et al., ICCV 2015 (arXiv 1504.07889)",
)
