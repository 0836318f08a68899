"""The table of pooling methods: for each name its options, its layer, its kernel and where it was published.

Free of torch, so that names, options and ranges are known before anything heavy is imported. A spectral method is a
kernel file, a line here and a YAML in ``conf/method``.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, fields
from typing import Any, ClassVar

from gcp.errors import OptionError
from gcp.options import LARGEST_SEED, Options, check_options, option
from gcp.registry import Registry, check_target


@dataclass(frozen=True)
class MethodInfo:
    """What the registry knows of a pooling method.

    Attributes:
        name: the key users write.
        options: dataclass of the constructor arguments.
        layer: the ``nn.Module`` class, called ``layer(in_channels, info, options)``; or "module:attribute".
        summary: one line for ``--help``.
        source: the paper.
        kernel: for spectral methods, ``kernel(spectrum, options) -> Loewner``; or "module:attribute".
        keep: for spectral methods that cut the spectrum, ``keep(spectrum, options) -> mask``; or "module:attribute".
        reduced_channels: channels a network reduces its features to before this method, none: as they are.
        functions: for spectral methods, names of the only spectral functions the kernel has a meaning for; none: any.
    """

    name: str
    options: type[Options]
    layer: str | Callable[..., Any]
    summary: str
    source: str
    kernel: str | Callable[..., Any] | None = None
    keep: str | Callable[..., Any] | None = None
    reduced_channels: int | None = 256
    functions: tuple[str, ...] | None = None


@dataclass(frozen=True)
class AverageOptions(Options):
    """Global average pooling has nothing to set."""


@dataclass(frozen=True)
class CovarianceOptions(Options):
    """Options every pooling has that computes a symmetric matrix."""

    vectorisation: str = option(
        "upper",
        "the matrix as a vector: upper, its upper triangle; isometric, with sqrt(2) off the diagonal, so that inner "
        "products are the matrices'; full, all entries",
        choices=("upper", "isometric", "full"),
    )


@dataclass(frozen=True)
class SpectralOptions(CovarianceOptions):
    """Options every spectral method has.

    Attributes:
        scale_free: whether the kernel weighs pairs of eigenvalues by their ratio alone.
    """

    scale_free: ClassVar[bool] = True

    precision: str = option(
        "mixed",
        "mixed: decompose in float64, multiply in the input's type, float32 at least; float64; float32: SVD of the "
        "centred features",
        choices=("mixed", "float64", "float32"),
    )
    path: str = option(
        "auto",
        "what is decomposed: gram, the positions x positions matrix; dense, the covariance; auto, the smaller of the "
        "two; with precision=float32 always the features themselves",
        choices=("auto", "gram", "dense"),
    )
    nonfinite: str = option(
        "raise",
        "a sample with NaN or infinity: raise an error that names it; or zero, for output and gradient, and count it",
        choices=("raise", "zero"),
    )

    def check_channels(self, channels: int) -> None:
        """Raise OptionError if these options cannot serve covariances of ``channels`` channels."""


@dataclass(frozen=True)
class TruncOptions(SpectralOptions):
    """Options of `trunc`."""

    scale_free = False

    limit: float = option(1e10, "largest |1/(lam_i - lam_j)|, in units of 1/eigenvalue", above=0)


@dataclass(frozen=True)
class TopNOptions(SpectralOptions):
    """Options of `topn`."""

    n: int | None = option(None, "number of eigenvalues kept, at most the number of channels", minimum=1)
    fraction: float | None = option(
        None,
        "fraction of the eigenvalues kept; without n and fraction, 206/256 as published",
        above=0,
        maximum=1,
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.n is not None and self.fraction is not None:
            raise OptionError(f"topn takes n or fraction, not both; got n={self.n} and fraction={self.fraction}")

    def kept(self, channels: int) -> int:
        """Number of eigenvalues kept of ``channels``."""
        if self.n is not None:
            return self.n
        fraction = 206 / 256 if self.fraction is None else self.fraction
        return max(1, round(fraction * channels))

    def check_channels(self, channels: int) -> None:
        """Raise OptionError if more eigenvalues are to be kept than there are channels."""
        if self.n is not None and self.n > channels:
            raise OptionError(
                f"topn cannot keep n={self.n} eigenvalues of a covariance of {channels} channels; "
                f"set n to {channels} or less, or use fraction"
            )


@dataclass(frozen=True)
class TaylorOptions(SpectralOptions):
    """Options of `taylor`."""

    degree: int = option(100, "degree of the Taylor polynomial of 1/(1 - x)", minimum=1)


@dataclass(frozen=True)
class PowerIterationOptions(SpectralOptions):
    """Options of `pi`."""

    iterations: int = option(19, "K: the backward is that of K + 1 unrolled power steps", minimum=1)


@dataclass(frozen=True)
class NewtonOptions(SpectralOptions):
    """Options of `newton`."""

    iterations: int = option(10, "Newton-Schulz iterations differentiated in the backward", minimum=1, maximum=1000)


@dataclass(frozen=True)
class KernelOptions(SpectralOptions):
    """Options of a pooling with a spectral function of its own."""

    kernel: str = option(
        "lyapunov",
        "the spectral method, with its own defaults, whose kernel is the gradient",
        choices=("lyapunov", "pade", "taylor", "pi", "trunc", "original"),
    )


@dataclass(frozen=True)
class LogmOptions(KernelOptions):
    """Options of `logm`."""

    eps: float = option(1e-3, "log(P + eps tr(P)/C I): what a null eigenvalue counts as, relative to the mean", above=0)


@dataclass(frozen=True)
class PowerOptions(KernelOptions):
    """Options of `power`."""

    alpha: float = option(0.5, "the exponent, or what it is before training", above=0)
    learnable: bool = option(True, "learn the exponent")


@dataclass(frozen=True)
class SEBOptions(KernelOptions):
    """Options of `seb`."""

    kernel: str = option(
        "pade",
        "the spectral method, with its own defaults, whose kernel is the gradient",
        choices=("lyapunov", "pade", "taylor", "pi", "trunc", "original"),
    )
    reweight: bool = option(
        False,
        "false: the published branch, which multiplies the whole root by one number; true: amplify small eigenvalues, "
        "sqrt(lam) (1 + exp(-lam/mean))",
    )


@dataclass(frozen=True)
class IsqrtOptions(CovarianceOptions):
    """Options of `isqrt`."""

    iterations: int = option(5, "Newton-Schulz iterations", minimum=1, maximum=1000)


@dataclass(frozen=True)
class RootOptions(CovarianceOptions):
    """Options of roots by approximants."""

    degree: int = option(5, "degree of the approximant", minimum=1)
    backward_iterations: int = option(
        8, "iterations for the Lyapunov equation of the gradient", minimum=1, maximum=1000
    )


@dataclass(frozen=True)
class MPAOptions(RootOptions):
    """Options of `mpa`."""

    degree: int = option(
        5, "degree of numerator and denominator, whose condition grows as 4^degree", minimum=1, maximum=10
    )


@dataclass(frozen=True)
class MTPOptions(RootOptions):
    """Options of `mtp`."""

    degree: int = option(10, "degree of the Taylor polynomial", minimum=1, maximum=10_000)


@dataclass(frozen=True)
class BilinearOptions(CovarianceOptions):
    """Options of `bilinear`."""

    eps: float = option(
        1e-8, "m/sqrt(|m| + eps) stands for the signed square root; in units of a channel's mean energy", above=0
    )


@dataclass(frozen=True)
class CompactBilinearOptions(Options):
    """Options of `compact_bilinear`."""

    dimension: int = option(8192, "length of the sketch", minimum=1)
    seed: int = option(0, "seed of the hash functions, which are part of the state", minimum=0, maximum=LARGEST_SEED)
    eps: float = option(
        1e-8, "m/sqrt(|m| + eps) stands for the signed square root; in units of a channel's mean energy", above=0
    )


METHODS: Registry[MethodInfo] = Registry("method")


def register_method(
    name: str,
    *,
    options: type[Options] = SpectralOptions,
    kernel: str | Callable[..., Any] | None = None,
    keep: str | Callable[..., Any] | None = None,
    layer: str | Callable[..., Any] = "gcp.pooling.covariance:CovariancePooling",
    summary: str = "",
    source: str = "",
    reduced_channels: int | None = 256,
    functions: tuple[str, ...] | None = None,
) -> MethodInfo:
    """Add a pooling method: a spectral one by its ``kernel``, any other by its ``layer``. See MethodInfo.

    Raises OptionError if the name is taken, for something of the wrong type OptionTypeError.
    """
    check_target("layer", layer)
    for part, target in (("kernel", kernel), ("keep", keep)):
        check_target(part, target, optional=True)
    check_options(options)
    info = MethodInfo(name, options, layer, summary, source, kernel, keep, reduced_channels, functions)
    return METHODS.register(name, info)


def list_methods() -> list[str]:
    """Names of all pooling methods."""
    return METHODS.names()


def kernel_options(options: SpectralOptions) -> dict[str, Any]:
    """The options a kernel has beyond those every spectral method has."""
    shared = {field.name for field in fields(SpectralOptions)}
    return {field.name: getattr(options, field.name) for field in fields(options) if field.name not in shared}


_ICCV21 = "Song et al., ICCV 2021 (arXiv 2105.02498)"

register_method(
    "pade",
    kernel="gcp.kernels.pade:pade",
    summary="1/(lam_i - lam_j) as a Pade approximant of the ratio of eigenvalues",
    source=_ICCV21,
)
register_method(
    "taylor",
    options=TaylorOptions,
    kernel="gcp.kernels.taylor:taylor",
    summary="1/(lam_i - lam_j) as a Taylor polynomial of the ratio of eigenvalues",
    source="Wang et al., TPAMI 2021 (arXiv 2104.03821)",
)
register_method(
    "pi",
    options=PowerIterationOptions,
    kernel="gcp.kernels.pi:pi",
    summary="gradient of power iteration with deflation",
    source="Wang et al., NeurIPS 2019 (arXiv 1906.09023)",
)
register_method(
    "newton",
    options=NewtonOptions,
    kernel="gcp.kernels.newton:newton",
    summary="gradient of the Newton-Schulz square root, in the eigenbasis",
    source=f"{_ICCV21}; iSQRT-COV, Li et al., CVPR 2018 (arXiv 1712.01034)",
    functions=("sqrt", "inverse_sqrt"),
)
register_method(
    "trunc",
    options=TruncOptions,
    kernel="gcp.kernels.trunc:trunc",
    summary="1/(lam_i - lam_j) clipped to an absolute limit",
    source=_ICCV21,
)
register_method(
    "topn",
    options=TopNOptions,
    kernel="gcp.kernels.topn:topn",
    keep="gcp.kernels.topn:kept",
    summary="the largest eigenvalues only, in value and gradient",
    source=_ICCV21,
)
register_method(
    "original",
    kernel="gcp.kernels.original:original",
    summary="the textbook quotient 1/(lam_i - lam_j)",
    source="MPN-COV, Li et al., ICCV 2017 (arXiv 1703.08050)",
)
register_method(
    "lyapunov",
    kernel="gcp.kernels.lyapunov:lyapunov",
    summary="the exact derivative, free of cancellation",
    source="Lin and Maji, BMVC 2017 (arXiv 1707.06772); Ionescu et al., ICCV 2015 (arXiv 1509.07838)",
)
register_method(
    "isqrt",
    options=IsqrtOptions,
    layer="gcp.pooling.isqrt:IsqrtPooling",
    summary="iSQRT-COV: the root by the coupled Newton-Schulz iteration",
    source="Li et al., CVPR 2018 (arXiv 1712.01034)",
)
register_method(
    "mpa",
    options=MPAOptions,
    layer="gcp.pooling.approximant:ApproximantPooling",
    summary="the root by a matrix Pade approximant, gradient by the Lyapunov equation",
    source="Song et al., ICLR 2022 (arXiv 2201.08663); TPAMI 2022 (arXiv 2201.12543)",
)
register_method(
    "mtp",
    options=MTPOptions,
    layer="gcp.pooling.approximant:ApproximantPooling",
    summary="the root by a matrix Taylor polynomial, gradient by the Lyapunov equation",
    source="Song et al., ICLR 2022 (arXiv 2201.08663); TPAMI 2022 (arXiv 2201.12543)",
)
register_method(
    "seb",
    options=SEBOptions,
    layer="gcp.pooling.seb:SEBPooling",
    summary="scaling eigen branch, literal or amplifying small eigenvalues",
    source="Song et al., TPAMI 2022 (arXiv 2205.13282)",
)
register_method(
    "logm",
    options=LogmOptions,
    layer="gcp.pooling.logm:LogmPooling",
    summary="logarithm of the covariance",
    source="DeepO2P, Ionescu et al., ICCV 2015 (arXiv 1509.07838)",
)
register_method(
    "power",
    options=PowerOptions,
    layer="gcp.pooling.power:PowerPooling",
    summary="a power of the covariance, with a learnable exponent",
    source="MPN-COV, Li et al., ICCV 2017 (arXiv 1703.08050)",
)
register_method(
    "bilinear",
    options=BilinearOptions,
    layer="gcp.pooling.bilinear:BilinearPooling",
    summary="B-CNN: second moment, signed square root, l2 norm",
    source="Lin et al., ICCV 2015 (arXiv 1504.07889)",
)
register_method(
    "compact_bilinear",
    options=CompactBilinearOptions,
    layer="gcp.pooling.compact_bilinear:CompactBilinearPooling",
    summary="bilinear pooling as a tensor sketch of fixed length",
    source="Gao et al., CVPR 2016 (arXiv 1511.06062)",
    reduced_channels=None,
)
register_method(
    "average",
    options=AverageOptions,
    layer="gcp.pooling.average:AveragePooling",
    summary="global average pooling, the first-order baseline",
    source="Lin et al., ICLR 2014 (arXiv 1312.4400)",
    reduced_channels=None,
)
