"""Errors a person can act on: each message is one sentence that says what was wrong, what was found, what to do."""

from __future__ import annotations

from collections.abc import Sequence


class GCPError(Exception):
    """Base of every error this project raises on purpose."""


class UnknownNameError(GCPError, LookupError):
    """A method, backbone or dataset that no registry holds."""


class OptionError(GCPError, ValueError):
    """An option that does not exist, has the wrong type or lies outside its range."""


class OptionTypeError(OptionError, TypeError):
    """An option or argument of the wrong type."""


class ShapeError(GCPError, ValueError):
    """An input whose shape the layer cannot work with."""


class DtypeError(GCPError, TypeError):
    """An input of a type the layer cannot work with."""


class MissingVarianceError(GCPError, AttributeError):
    """The variances of a layer that has a covariance."""


class MissingDependencyError(GCPError, ImportError):
    """An optional package that is not installed."""


class PluginError(GCPError, RuntimeError):
    """A method, backbone or dataset of the user's own, or its module, that does not do what it has to."""


class WeightsError(GCPError, RuntimeError):
    """Pretrained weights that do not exist, cannot be fetched or are of another network."""


class CheckpointError(GCPError, RuntimeError):
    """A checkpoint that is missing, unreadable, or of another network than the one asked for."""


class DataError(GCPError, RuntimeError):
    """A dataset that is missing, damaged or laid out in another way than expected."""


class DerivativeError(GCPError, NotImplementedError):
    """A derivative that a layer or function does not have: a second one, of most, or one in forward mode."""


class SampleError(GCPError, ArithmeticError):
    """Something wrong with single samples of a batch.

    Attributes:
        samples: their positions in the batch.
    """

    def __init__(self, message: str, samples: tuple[int, ...] = ()) -> None:
        super().__init__(message)
        self.samples = samples


class ExportError(GCPError, RuntimeError):
    """A network that cannot be written in a format, or an exported file that computes something else."""


class NonFiniteError(SampleError):
    """NaN or infinity where finite numbers are needed."""


class DecompositionError(SampleError):
    """An eigendecomposition or SVD that converged in no way that was tried."""


class GaugeError(SampleError):
    """A loss that depends on the basis a decomposition chose inside an eigenspace, where it has no derivative."""


class GaugeWarning(UserWarning):
    """What `GaugeError` says, where it is not to be an error."""


class SpeedWarning(UserWarning):
    """Something that works and is much slower than it need be, and what to do."""


class DomainError(SampleError, ValueError):
    """A matrix outside the domain of a spectral function; ``samples`` are positions in the flattened batch."""


class SweepFailedError(GCPError, RuntimeError):
    """A sweep some of whose jobs failed; the others have finished."""


def first_line(error: BaseException) -> str:
    """What ``error`` says in its first line; the name of its type if it says nothing.

    >>> first_line(ValueError("too large\\nin line 3")), first_line(ValueError())
    ('too large', 'ValueError')
    """
    return str(error).strip().split("\n")[0] or type(error).__name__


def few(names: Sequence[object], most: int = 5) -> str:
    """``names`` with commas between; of more than ``most`` the first ones and dots.

    >>> few(["a", "b", "c"], most=2)
    'a, b, ...'
    """
    return ", ".join(map(str, names[:most])) + (", ..." if len(names) > most else "")
