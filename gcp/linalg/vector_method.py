"""A method of the registry as the derivative of eigenvectors and singular vectors needs it."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any

import torch
from torch import Tensor

from gcp.autograd import BothModes, keep
from gcp.errors import DerivativeError, OptionError
from gcp.linalg.gauge import GAUGES
from gcp.methods import METHODS, MethodInfo
from gcp.methods.table import VECTORS
from gcp.options import make_options, option_names
from gcp.registry import nearest, resolve
from gcp.rounding import gap_floor
from gcp.spectral.kernels import vector_quotient
from gcp.spectral.pairs import levels
from gcp.spectral.spectral_options import SpectralOptions
from gcp.tracing import constant


@dataclass(frozen=True)
class Origin:
    """Where values come from. No tuple, which torch would take for several inputs of a Function.

    Attributes:
        channels: how many there are that `topn` keeps a fraction of.
        size: the larger side of the matrices.
        roundoff: of the dtype that the matrices came in.
        squares: whether values are squares of singular values of what came in.
    """

    channels: int
    size: int
    roundoff: float
    squares: bool = False


@dataclass(frozen=True)
class VectorMethod:
    """A method ready to be applied.

    Attributes:
        info: its entry in the registry.
        options: its options; of those it shares with pooling layers ``precision`` counts, and ``path`` in `pca`.
        gauge: one of `GAUGES`.
        signed: whether the values may be negative; they ascend, then, and descend otherwise.
    """

    info: MethodInfo
    options: SpectralOptions
    gauge: str
    signed: bool

    @property
    def exact(self) -> bool:
        """Whether D is 1/(lam_i - lam_j) itself, which has further derivatives."""
        return self.info.exact_quotient

    def quotients(self, values: Tensor, origin: Origin) -> Quotients:
        """D and what goes with it, of eigenvalues or singular values (..., n)."""
        floor = gap_floor(values, origin.size, 0.0 if origin.squares else origin.roundoff)
        stored = gap_floor(values.sqrt(), origin.size, origin.roundoff) if origin.squares else None
        pairs = levels(values, origin.channels, self.signed, floor, stored)
        D = vector_quotient(pairs, self.options, self.info.weight, self.info.quotient)
        kept = None if self.info.keep is None else resolve(self.info.keep)(pairs, self.options)[..., :-1]
        return Quotients(D[..., :-1, :-1], D[..., :-1, -1], pairs.tied[..., :-1, :-1], kept, floor)

    @property
    def refusal(self) -> str:
        """What is said of a second derivative."""
        return (
            f"method '{self.info.name}' has no second derivatives here, since its gradient is deliberately not the "
            "exact derivative; use method 'pade' or 'original', or a function that needs no vectors, such as "
            "gcp.linalg.eigenprojector, gcp.linalg.polar or gcp.spectral_function"
        )


@dataclass(frozen=True)
class Quotients:
    """What a method makes of values (..., n).

    Attributes:
        among: D (..., n, n), which stands for 1/(lam_i - lam_j), on the cotangent of vector i; 0 at ties.
        null: D towards the null space, (..., n).
        tied: (..., n, n) bool, pairs that cannot be told apart.
        kept: (..., n) bool, values that have a gradient; None: all.
        floor: (..., 1), up to which a value, or the gap of two, is rounding.
    """

    among: Tensor
    null: Tensor
    tied: Tensor
    kept: Tensor | None
    floor: Tensor


@constant
def vector_method(
    name: str, options: Mapping[str, Any], signed: bool, shared: tuple[str, ...] = ("precision",)
) -> VectorMethod:
    """The method of that name with ``options``: its own, ``gauge``, and those of pooling layers that are ``shared``.

    Raises:
        UnknownNameError: no such method.
        OptionError: one that has a meaning for a function f only, or no spectral one; an option that it does not have
            or that is out of range.

    >>> vector_method("taylor", {"degree": 20}, signed=True).options.degree
    20
    """
    info = METHODS.get(name)
    return _prepare(info, options, signed, shared) if options else _with_defaults(info, signed, shared)


@cache  # of small matrices a decomposition takes less time than this
def _with_defaults(info: MethodInfo, signed: bool, shared: tuple[str, ...]) -> VectorMethod:
    return _prepare(info, {}, signed, shared)


def _prepare(info: MethodInfo, options: Mapping[str, Any], signed: bool, shared: tuple[str, ...]) -> VectorMethod:
    name = info.name
    if name not in VECTORS:
        raise OptionError(
            f"method '{name}' is the gradient of a function f(A), not of singular vectors or eigenvectors: use "
            f"gcp.spectral_function or gcp.linalg.singular_function, or a method of vectors: {', '.join(VECTORS)}"
            if info.kernel is not None
            else f"method '{name}' is a pooling layer alone; the methods of vectors are {', '.join(VECTORS)}"
        )
    layers = [option for option in option_names(SpectralOptions) if option not in shared]
    known = [*(option for option in option_names(info.options) if option not in layers), "gauge"]
    for option in options:
        if option not in known:
            raise OptionError(
                f"method '{name}' has no option '{option}' here{nearest(option, known)}; it takes: {', '.join(known)}"
            )
    gauge = options.get("gauge", "warn")
    if gauge not in GAUGES:
        raise OptionError(f"gauge must be one of {', '.join(GAUGES)}, got {gauge!r}{nearest(str(gauge), GAUGES)}")
    own = {option: value for option, value in options.items() if option != "gauge"}
    built = make_options(info.options, own, f"method '{name}'")
    assert isinstance(built, SpectralOptions)
    return VectorMethod(info, built, gauge, signed)


class ReciprocalGap(BothModes):
    """D of a method whose D is 1/(lam_i - lam_j): dD_ij = -D_ij^2 (dlam_i - dlam_j), to any order."""

    @staticmethod
    def forward(values: Tensor, method: VectorMethod, origin: Origin) -> Tensor:
        """(..., n, n) of values (..., n)."""
        return method.quotients(values, origin).among.clone(memory_format=torch.contiguous_format)  # no view

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
        """Keep D."""
        keep(ctx, output)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None, None]:
        """dℓ/dvalues."""
        (D,) = ctx.saved_tensors
        slope = D * D * grad
        return slope.sum(-2) - slope.sum(-1), None, None

    @staticmethod
    def tangent(ctx: Any, dvalues: Tensor | None = None, *_: Tensor | None) -> Tensor:
        """DD in direction of the values'."""
        (D,) = ctx.saved_tensors
        assert dvalues is not None
        dD: Tensor = D * D * (dvalues.unsqueeze(-2) - dvalues.unsqueeze(-1))
        return dD


class Final(BothModes):
    """A derivative that has none of its own: ``forward(refusal, method, origin, values, ...)``, and what is then said.

    Its subclasses list their tensors one by one: the compiler loses count of more.
    """

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: Any) -> None:
        """Keep what to say."""
        ctx.refusal = inputs[0]

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> Any:
        """Raise DerivativeError."""
        raise DerivativeError(ctx.refusal)

    @staticmethod
    def tangent(ctx: Any, *tangents: Tensor | None) -> Any:
        """Raise DerivativeError."""
        raise DerivativeError(ctx.refusal)


def derivative(
    rule: Any, final: type[Final], method: VectorMethod, origin: Origin, values: Tensor, *tensors: Tensor | None
) -> Any:
    """``rule(method, quotients, values, *tensors)`` for exact methods, differentiable; otherwise by ``final``.

    >>> method = vector_method("pade", {}, signed=True)
    >>> origin = Origin(2, 2, 2**-23)
    >>> derivative(lambda method, found, values: found.among, Final, method, origin, torch.tensor([1.0, 3.0]))
    tensor([[ 0.0000, -0.5000],
            [ 0.5000,  0.0000]])
    """
    if not method.exact:
        return final.apply(method.refusal, method, origin, values, *tensors)
    with torch.no_grad():
        found = method.quotients(values, origin)
    found = dataclasses.replace(found, among=ReciprocalGap.apply(values, method, origin))
    return rule(method, found, values, *tensors)


def reciprocal(values: Tensor, floor: Tensor) -> Tensor:
    """1/v, 0 where |v| is not above the floor; differentiable.

    >>> reciprocal(torch.tensor([4.0, 0.0]), torch.tensor([1e-6]))
    tensor([0.2500, 0.0000])
    """
    present = values.abs() > floor
    return torch.where(present, 1 / torch.where(present, values, 1), 0)
