"""The scaling eigen branch; the layer is `gcp.pooling.seb`."""

from dataclasses import dataclass

from gcp.methods.table import KERNEL_HELP, KERNELS, KernelOptions, register_method
from gcp.options import option


@dataclass(frozen=True)
class SEBOptions(KernelOptions):
    """Options of `seb`."""

    kernel: str = option("pade", KERNEL_HELP, choices=KERNELS)
    reweight: bool = option(
        False,
        "false: the published branch, which multiplies the whole root by one number; true: amplify small eigenvalues, "
        "sqrt(lam) (1 + exp(-lam/mean))",
    )


register_method(
    "seb",
    options=SEBOptions,
    layer="gcp.pooling.seb:SEBPooling",
    summary="scaling eigen branch, literal or amplifying small eigenvalues",
    source="Song et al., TPAMI 2022 (arXiv 2205.13282)",
)
