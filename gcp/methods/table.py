"""The table of pooling methods: for each name its options, its layer, its kernel and where it was published.

And the options that methods share which choose another method's kernel, or are roots by matrix products.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from gcp.errors import OptionError
from gcp.options import Options, check_options, option
from gcp.registry import Names, Registry, check_target
from gcp.spectral.kernels import QuotientKernel, WeightKernel
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
            of L and the weights of `Loewner.trace`; or "module:attribute". Of a method that gives a weight or a
            quotient alone it is made of that.
        weight: for methods of eigenvectors, ``weight(pairs, options)`` of `gcp.spectral.kernels`; or
            "module:attribute".
        quotient: the same for ``quotient(pairs, options)``; a method gives one of the two, or none if it needs an f.
        exact_quotient: whether the quotient is 1/(lam_i - lam_j) itself, whose own derivative is known.
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
    weight: str | Callable[..., Any] | None = None
    quotient: str | Callable[..., Any] | None = None
    keep: str | Callable[..., Any] | None = None
    approximant: str | Callable[..., Any] | None = None
    reduced_channels: int | None = 256
    functions: tuple[str, ...] | None = None
    exact: bool = False
    exact_quotient: bool = False


METHODS: Registry[MethodInfo] = Registry("method")


def register_method(
    name: str,
    *,
    options: type[Options] = SpectralOptions,
    layer: str | Callable[..., Any] = "gcp.pooling.spectral:CovariancePooling",
    summary: str = "",
    source: str = "",
    kernel: str | Callable[..., Any] | None = None,
    weight: str | Callable[..., Any] | None = None,
    quotient: str | Callable[..., Any] | None = None,
    keep: str | Callable[..., Any] | None = None,
    approximant: str | Callable[..., Any] | None = None,
    reduced_channels: int | None = 256,
    functions: tuple[str, ...] | None = None,
    exact: bool = False,
    exact_quotient: bool = False,
) -> MethodInfo:
    """Add a pooling method: a spectral one by its ``weight``, ``quotient`` or ``kernel``, any other by its ``layer``.

    See MethodInfo. One with a kernel alone pools, and has a `gcp.spectral_function`, but no eigenvectors in
    `gcp.linalg`.

    Raises OptionError if the name is taken, or both a weight and a quotient are given; for something of the wrong type
    OptionTypeError.

    >>> def half(spectrum, options):
    ...     return spectrum.with_limits(spectrum.divided_differences()) / 2
    >>> register_method("half", kernel=half, summary="half the exact gradient").name
    'half'
    """
    check_target("layer", layer)
    targets = {"kernel": kernel, "weight": weight, "quotient": quotient, "keep": keep, "approximant": approximant}
    for part, target in targets.items():
        check_target(part, target, optional=True)
    if weight is not None and quotient is not None:
        raise OptionError("a method gives its weight or its quotient, which is the weight over the gap, not both")
    if kernel is None and weight is not None:
        kernel = WeightKernel(weight)
    elif kernel is None and quotient is not None:
        kernel = QuotientKernel(quotient)
    check_options(options, Options if kernel is None else SpectralOptions)
    if approximant is not None:
        check_options(options, RootOptions)
    info = MethodInfo(
        name,
        options,
        layer,
        summary,
        source,
        kernel,
        weight,
        quotient,
        keep,
        approximant,
        reduced_channels,
        functions,
        exact,
        exact_quotient,
    )
    return METHODS.register(name, info)


def list_methods() -> list[str]:
    """Names of all pooling methods.

    >>> "taylor" in list_methods()
    True
    """
    return METHODS.names()


SPECTRAL = Names(METHODS, lambda info: info.kernel is not None)
# The methods with a stand-in for 1/(lam_i - lam_j), which eigenvectors can be differentiated by.
VECTORS = Names(METHODS, lambda info: info.weight is not None or info.quotient is not None)
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
