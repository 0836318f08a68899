"""Cho-TMLR: the logarithm of the covariance's Cholesky factor; the layer is `gcp.pooling.cholesky`."""

from dataclasses import dataclass

from gcp.methods.table import register_method
from gcp.options import option
from gcp.spectral.spectral_options import EstimateOptions


@dataclass(frozen=True)
class CholeskyOptions(EstimateOptions):
    """Options of `cholesky`."""

    eps: float = option(
        1e-3, "chol(P + eps tr(P)/C I): what a null eigenvalue counts as, relative to the mean", above=0
    )
    relative: bool = option(True, "false: chol(P + eps I); as published with eps=1e-6")


register_method(
    "cholesky",
    options=CholeskyOptions,
    layer="gcp.pooling.cholesky:CholeskyPooling",
    summary="Cho-TMLR: the Cholesky factor, its diagonal as logarithms",
    source="Chen et al., ICLR 2025 (arXiv 2407.10484)",
)
