"""Options that several methods share."""

from dataclasses import dataclass

from gcp.methods.table import METHODS
from gcp.options import option
from gcp.registry import Names
from gcp.spectral.options import CovarianceOptions, SpectralOptions

# The methods whose kernel is a gradient of any function: registered ones, a plugin's among them.
KERNELS = Names(METHODS, lambda info: info.kernel is not None and info.keep is None and info.functions is None)
KERNEL_HELP = "the spectral method, with its own defaults, whose kernel is the gradient"


@dataclass(frozen=True)
class KernelOptions(SpectralOptions):
    """Options of a pooling with a spectral function of its own."""

    kernel: str = option("lyapunov", KERNEL_HELP, choices=KERNELS)


@dataclass(frozen=True)
class RootOptions(CovarianceOptions):
    """Options of roots by approximants."""

    degree: int = option(5, "degree of the approximant", minimum=1)
    backward_iterations: int = option(
        8, "iterations for the Lyapunov equation of the gradient", minimum=1, maximum=1000
    )
