"""Options of covariances and of their spectral functions, free of torch."""

from dataclasses import dataclass
from typing import ClassVar

from gcp.errors import OptionError
from gcp.options import Options, option

SOLVERS = ("device", "refined", "cpu", "fastest")


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
class SquareRootOptions(CovarianceOptions):
    """Options every pooling has whose matrix is the square root Q of the covariance."""

    classifier_map: str = option(
        "power",
        "what of the root Q is classified: power, Q itself (Pow-EMLR); scaled, 2 Q, the root with the metric's factor "
        "(ScalePow-EMLR); tangent, 2 (Q - I), its logarithm at the identity (Pow-TMLR), which depends on the features' "
        "scale; ICLR 2025 (arXiv 2407.10484)",
        choices=("power", "scaled", "tangent"),
    )


@dataclass(frozen=True)
class EstimateOptions(CovarianceOptions):
    """Options of every pooling that is made from the covariance alone: how that is estimated."""

    centred: bool = option(True, "true: the covariance; false: the second moment, without subtracting the mean")
    shrinkage: float = option(
        0.0, "a of the shrunk covariance (1 - a) P + a tr(P)/C I, against few positions", minimum=0, maximum=1
    )
    ledoit_wolf: bool = option(False, "a by the formula of Ledoit and Wolf, for each sample its own")

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.ledoit_wolf and self.shrinkage:
            raise OptionError(
                f"shrinkage={self.shrinkage} fixes the intensity that ledoit_wolf=true computes; set one of the two"
            )

    @property
    def plain(self) -> bool:
        """Whether what is estimated is the covariance as it is."""
        return self.centred and not self.shrinkage and not self.ledoit_wolf

    @property
    def fewest_positions(self) -> int:
        """The fewest positions that will do."""
        return 2 if self.centred else 1


PRECISIONS = ("mixed", "float64", "float32")


@dataclass(frozen=True)
class DecompositionOptions(CovarianceOptions):
    """Options of all that decomposes covariances.

    Attributes:
        scale_free: whether the kernel weighs pairs of eigenvalues by their ratio alone.
    """

    scale_free: ClassVar[bool] = True

    precision: str = option(
        "mixed",
        "mixed: decompose in float64, multiply in the input's type, float32 at least; float64; float32: SVD of the "
        "centred features",
        choices=PRECISIONS,
    )
    path: str = option(
        "auto",
        "what is decomposed: gram, the positions x positions matrix; dense, the covariance; auto, the smaller of the "
        "two; with precision=float32 always the features themselves",
        choices=("auto", "gram", "dense"),
    )
    nonfinite: str = option(
        "raise",
        "a sample with NaN or infinity: raise an error that names it; zero, for output and gradient, and count it; or "
        "nan for both, which a GPU finds out alone: no check is made that it would have to wait for, and what is out "
        "of range is NaN or infinite, too",
        choices=("raise", "zero", "nan"),
    )
    solver: str = option(
        "device",
        "how float64 matrices are decomposed: device, by the device's own routine; refined, in float32 and then "
        "corrected by float64 products, for GPUs that are slow in float64; cpu, on the CPU; fastest, whichever of them "
        "was when the first batch of that size was timed, so that runs may differ by rounding",
        choices=SOLVERS,
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.precision == "float32" and self.solver != "device":
            raise OptionError(
                f"solver={self.solver} is for decompositions in float64, and precision=float32 has none; leave one out"
            )

    def check_channels(self, channels: int) -> None:
        """Raise OptionError if these options cannot serve covariances of ``channels`` channels."""


@dataclass(frozen=True)
class SpectralOptions(EstimateOptions, SquareRootOptions, DecompositionOptions):
    """Options every spectral method has."""
