"""Odd functions of a matrix's singular values, which need no singular vectors to be well defined."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from gcp.autograd import BothModes, ReverseMode, keep, no_derivative, without_autocast
from gcp.dtypes import REAL
from gcp.linalg.decompose import check_matrices, singular_triplets
from gcp.linalg.factored import Kernel, between_bases
from gcp.linalg.odd import as_odd
from gcp.rounding import null_floor
from gcp.scaling import exact_unit
from gcp.spectral.loewner import spectrum
from gcp.spectral.maps import SpectralMap
from gcp.spectral.maps.lookup import Pair


def singular_function(
    A: Tensor, f: str | SpectralMap | Pair = "power", *, precision: str = "mixed", **options: Any
) -> Tensor:
    """U f(S) V^H of A = U S V^H, for an odd function f: power normalisation, soft threshold, or your own.

    Exact at equal singular values, at null ones, for any shape: the kernel of the gradient is f[s_i, s_j] on the
    Hermitian part of U^H G V, f[s_i, -s_j] on the rest, f(s_i)/s_i towards null spaces. Where f'(0) is infinite
    nothing flows within the null space. The polar factor, f = 1, is `gcp.linalg.polar`.

    Args:
        A: (..., m, n), real or complex, any floating dtype.
        f: "power" (``alpha``: a number above 0, or a tensor, which gets its gradient), "sqrt", "soft_threshold"
            (``threshold``, the proximal map of the nuclear norm), a map of `gcp.spectral.maps` that is 0 at 0, or a
            pair (function, derivative) of callables on s >= 0.
        precision: mixed: decompose in float64, multiply in the type of A, float32 at least; float64; float32.
        options: of f.

    Returns:
        (..., m, n), in the dtype of ``A``.

    Raises:
        DtypeError, ShapeError: ``A`` is no tensor of numbers (..., m, n).
        NonFiniteError, DecompositionError: as `gcp.linalg.svd`.
        UnknownNameError, OptionError: an unknown f, or an option out of place; a function that is not 0 at 0.

    >>> singular_function(torch.diag(torch.tensor([4.0, -9.0])), "power", alpha=0.5)
    tensor([[ 2.,  0.],
            [ 0., -3.]])
    """
    check_matrices(A)
    function = as_odd(f, options)
    if not A.numel():
        return A.clone()
    with without_autocast(A):
        parameter = None if function.parameter is None else function.parameter.clone()
        degree = function.degree
        if degree is None:
            return _decomposed(A, function, parameter, precision)
        unit = exact_unit(A)
        return _decomposed(A / unit, function, parameter, precision) * unit**degree


def _decomposed(A: Tensor, function: SpectralMap, parameter: Tensor | None, precision: str) -> Tensor:
    U, s, V = singular_triplets(A, precision)
    values, kernel, slopes = odd_kernel(s, A, function)
    real = REAL.get(U.dtype, U.dtype)
    parts = [part.to(real) for part in (values, *kernel)]
    slope = None if slopes is None else slopes.to(real)
    result: Tensor = SingularFunction.apply(A.to(U.dtype), parameter, U, V, *parts, slope)
    return result.to(A.dtype)


def odd_kernel(s: Tensor, A: Tensor, function: SpectralMap) -> tuple[Tensor, tuple[Tensor, ...], Tensor | None]:
    """f(s) (..., k); the three parts of a `Kernel`; and df(s)/dparameter (..., k), if f has a parameter.

    Args:
        s: (..., k), descending, in the dtype of the kernel.
        A: (..., m, n), whose singular values they are.
        function: f on s >= 0.

    >>> from gcp.spectral.maps import SquareRoot
    >>> odd_kernel(torch.tensor([4.0, 1.0]), torch.ones(2, 2), SquareRoot())[0]
    tensor([2., 1.])
    """
    s = torch.where(s > null_floor(s, torch.finfo(A.dtype).eps), s, 0)
    pairs = spectrum(s, A.shape[-2], A.shape[-1], function, squared=True)
    loewner = pairs.with_limits(pairs.divided_differences())
    alike, null = loewner[..., :-1, :-1], loewner[..., :-1, -1]
    values = function.value(s)
    both = s.unsqueeze(-1) + s.unsqueeze(-2)
    opposite = (values.unsqueeze(-1) + values.unsqueeze(-2)) / torch.where(both > 0, both, 1)
    opposite = torch.where(both > 0, opposite, alike)
    slopes = None if function.parameter is None else function.parameter_derivative(s)
    return values, ((alike + opposite) / 2, (alike - opposite) / 2, null), slopes


class SingularFunction(BothModes):
    """U f(S) V^H; its derivative is the `Kernel` of f, which is its own adjoint."""

    @staticmethod
    def forward(
        A: Tensor,
        parameter: Tensor | None,
        U: Tensor,
        V: Tensor,
        values: Tensor,
        direct: Tensor,
        crossed: Tensor,
        null: Tensor,
        slopes: Tensor | None,
    ) -> Tensor:
        """(..., m, n) from the factors of A; ``slopes`` is df(s)/dparameter."""
        return (U * values.unsqueeze(-2)) @ V.mH

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
        """Keep the factors and the kernel."""
        keep(ctx, *inputs)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        """dℓ/dA and dℓ/dparameter."""
        A, parameter, U, V, _, *kernel, slopes = ctx.saved_tensors
        slope = None
        if slopes is not None and ctx.needs_input_grad[1]:
            slope = ParameterSlope.apply(grad, parameter, U, V, slopes)
        return SingularGradient.apply(grad, A, U, V, *kernel), slope, *[None] * 7

    @staticmethod
    def tangent(ctx: Any, dA: Tensor | None = None, dparameter: Tensor | None = None, *_: Tensor | None) -> Tensor:
        """The derivative in the direction of the tangents."""
        A, _, U, V, _, *kernel, slopes = ctx.saved_tensors
        total: Tensor | None = None
        if dA is not None:
            total = SingularGradient.apply(dA, A, U, V, *kernel)
        if dparameter is not None:
            turned = (U * slopes.unsqueeze(-2)) @ V.mH * dparameter.to(slopes.dtype)
            total = turned if total is None else total + turned
        assert total is not None
        return total


class SingularGradient(ReverseMode):
    """The derivative of `SingularFunction` at A in direction G."""

    @staticmethod
    def forward(G: Tensor, A: Tensor, U: Tensor, V: Tensor, direct: Tensor, crossed: Tensor, null: Tensor) -> Tensor:
        """(..., m, n)."""
        with without_autocast(U):
            return between_bases(G, U, V, Kernel(direct, crossed, null))

    backward = no_derivative("second derivatives of a function of singular values are not implemented")


class ParameterSlope(ReverseMode):
    """dℓ/dparameter = sum_i Re(B_ii) df(s_i)/dparameter, B = U^H G V."""

    @staticmethod
    def forward(grad: Tensor, parameter: Tensor, U: Tensor, V: Tensor, slopes: Tensor) -> Tensor:
        """In the form of ``parameter``."""
        with without_autocast(U):
            diagonal = (U.conj() * (grad @ V)).sum(-2).real
            return (diagonal * slopes).sum().to(parameter.dtype).reshape(parameter.shape)

    backward = no_derivative("second derivatives with respect to a function's parameter are not implemented")
