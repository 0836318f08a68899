"""The logarithm of the covariance; the layer is `gcp.pooling.logm`."""

from dataclasses import dataclass

from gcp.methods.table import KernelOptions, register_method
from gcp.options import option


@dataclass(frozen=True)
class LogmOptions(KernelOptions):
    """Options of `logm`."""

    eps: float = option(1e-3, "log(P + eps tr(P)/C I): what a null eigenvalue counts as, relative to the mean", above=0)


register_method(
    "logm",
    options=LogmOptions,
    layer="gcp.pooling.logm:LogmPooling",
    summary="logarithm of the covariance",
    source="DeepO2P, Ionescu et al., ICCV 2015 (arXiv 1509.07838)",
)
