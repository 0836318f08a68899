"""The table of pooling methods: for each name its options, its layer, its kernel and where it was published.

And the options that methods share which choose another method's kernel, or are roots by matrix products.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from gcp.options import Options, check_options, option
from gcp.registry import Names, Registry, check_target
from gcp.spectral.spectral_options import DecompositionOptions, EstimateOptions, SpectralOptions, SquareRootOptions


@dataclass(frozen=True)
class MethodInfo:
    """What the registry knows of a pooling method.

    Attributes:
        name: the key users write.
        options: dataclass of the constructor arguments; a `SpectralOptions` beside a kernel, a `RootOptions` beside an
            approximant.
        layer: the ``nn.Module`` class, called ``layer(in_channels, info, options)``; or "module:attribute".
        summary: one line for ``--help``.
        source: the paper.
        kernel: for spectral methods, ``kernel(spectrum, options)``, L of a `gcp.spectral.loewner.Spectrum`, or a pair
            of L and the weights of `Loewner.trace`; or "module:attribute".
        keep: for spectral methods that cut the spectrum, ``keep(spectrum, options) -> mask``; or "module:attribute".
        approximant: for roots by matrix products, ``approximant(A, degree, inverse)``; or "module:attribute".
        reduced_channels: channels a network reduces its features to before this method; None: as they are.
        functions: for spectral methods, names of the only spectral functions the kernel has a meaning for; None: any.
        exact: whether the kernel is the divided differences of f, whose own derivative is known.
    """

    name: str
    options: type[Options]
    layer: str | Callable[..., Any]
    summary: str
    source: str
    kernel: str | Callable[..., Any] | None = None
    keep: str | Callable[..., Any] | None = None
    approximant: str | Callable[..., Any] | None = None
    reduced_channels: int | None = 256
    functions: tuple[str, ...] | None = None
    exact: bool = False


METHODS: Registry[MethodInfo] = Registry("method")


def register_method(
    name: str,
    *,
    options: type[Options] = SpectralOptions,
    layer: str | Callable[..., Any] = "gcp.pooling.spectral:CovariancePooling",
    summary: str = "",
    source: str = "",
    kernel: str | Callable[..., Any] | None = None,
    keep: str | Callable[..., Any] | None = None,
    approximant: str | Callable[..., Any] | None = None,
    reduced_channels: int | None = 256,
    functions: tuple[str, ...] | None = None,
    exact: bool = False,
) -> MethodInfo:
    """Add a pooling method: a spectral one by its ``kernel``, any other by its ``layer``. See MethodInfo.

    Raises OptionError if the name is taken, for something of the wrong type OptionTypeError.

    >>> def half(spectrum, options):
    ...     return spectrum.with_limits(spectrum.divided_differences()) / 2
    >>> register_method("half", kernel=half, summary="half the exact gradient").name
    'half'
    """
    check_target("layer", layer)
    for part, target in (("kernel", kernel), ("keep", keep), ("approximant", approximant)):
        check_target(part, target, optional=True)
    check_options(options, Options if kernel is None else SpectralOptions)
    if approximant is not None:
        check_options(options, RootOptions)
    info = MethodInfo(
        name, options, layer, summary, source, kernel, keep, approximant, reduced_channels, functions, exact
    )
    return METHODS.register(name, info)


def list_methods() -> list[str]:
    """Names of all pooling methods.

    >>> "taylor" in list_methods()
    True
    """
    return METHODS.names()


SPECTRAL = Names(METHODS, lambda info: info.kernel is not None)
# The methods whose kernel is a gradient of any function: registered ones, a plugin's among them.
KERNELS = Names(METHODS, lambda info: info.kernel is not None and info.keep is None and info.functions is None)
KERNEL_HELP = "the spectral method, with its own defaults, whose kernel is the gradient"


@dataclass(frozen=True)
class KernelOptions(EstimateOptions, DecompositionOptions):
    """Options of a pooling with a spectral function of its own."""

    kernel: str = option("lyapunov", KERNEL_HELP, choices=KERNELS)


@dataclass(frozen=True)
class RootOptions(EstimateOptions, SquareRootOptions):
    """Options of roots by approximants."""

    degree: int = option(5, "degree of the approximant", minimum=1)
    backward_iterations: int = option(
        8, "iterations for the Lyapunov equation of the gradient", minimum=1, maximum=1000
    )
