"""Functions of covariances, as plain functions of features."""

from __future__ import annotations

import dataclasses

import torch
from torch import Tensor

from gcp.errors import DtypeError, OptionError, ShapeError
from gcp.methods import METHODS, MethodInfo, SpectralOptions
from gcp.options import make_options
from gcp.registry import resolve
from gcp.spectral.function import CovarianceFunction, SpectralMethod
from gcp.spectral.maps import SpectralMap, SquareRoot
from gcp.spectral.parameter import with_parameter


def spectral_method(name: str | MethodInfo, function: SpectralMap | None = None, **options: object) -> SpectralMethod:
    """The spectral method of that name with its options, ready for `covariance_root`.

    Args:
        name: one of `list_methods()`, or its entry.
        function: the map applied to the eigenvalues; none: the square root.
        options: the method's own.

    Raises:
        UnknownNameError: no such method.
        OptionError: not a spectral method, an option it does not have or that is out of range, or a function it
            cannot serve.
    """
    info = METHODS.get(name) if isinstance(name, str) else name
    if info.kernel is None:
        spectral = [other for other in METHODS.names() if METHODS.get(other).kernel is not None]
        raise OptionError(f"'{info.name}' is no spectral method; the spectral methods are {', '.join(spectral)}")
    built = make_options(info.options, options, f"method '{info.name}'")
    assert isinstance(built, SpectralOptions)
    function = SquareRoot() if function is None else function
    if info.functions is not None and function.name not in info.functions:
        raise OptionError(
            f"method '{info.name}' has a meaning for {' and '.join(info.functions)} only, got {function.name}; "
            "use another method, for instance lyapunov"
        )
    if info.keep is not None and not function.finite_at_zero:
        raise OptionError(f"method '{info.name}' sets eigenvalues to 0, where {function.name} is infinite; set eps")
    return SpectralMethod(resolve(info.kernel), resolve(info.keep), built, function)


def covariance_root(features: Tensor, method: SpectralMethod) -> Tensor:
    """Square root of the covariance of features over their positions, or what other function the method carries.

    Args:
        features: (B, C, H, W) or (B, C, N), any floating dtype.
        method: from `spectral_method`; decides the gradient, and the precision of the computation.

    Returns:
        (B, C, C), symmetric, in the dtype of ``features``.

    Raises:
        ShapeError: wrong number of dimensions, or fewer than two positions.
        DtypeError: not floating point.
        NonFiniteError: NaN or infinity in ``features``; names the samples.
        DecompositionError: a sample whose decomposition does not converge in any way; names it.
    """
    if features.dim() not in (3, 4):
        raise ShapeError(f"features must be (B, C, H, W) or (B, C, N), got shape {tuple(features.shape)}")
    check_floating(features, "features")
    size = "x".join(map(str, features.shape[2:]))
    flat = features.flatten(2)
    if flat.shape[-1] < 2:
        raise ShapeError(
            f"a covariance needs two positions or more, got a feature map of {size}; "
            "use larger images, or a backbone with a smaller stride (last_stride=1)"
        )
    method.options.check_channels(flat.shape[1])
    with torch.autocast(features.device.type, enabled=False):
        parameter = method.function.parameter
        if parameter is not None:
            method = dataclasses.replace(method, function=method.function.frozen())
        Z, U, eigenvalues, _ = CovarianceFunction.apply(flat, method)
        if parameter is not None:
            seen = method.spectrum(eigenvalues.detach(), flat.shape[-2], flat.shape[-1])
            Z = with_parameter(Z, U, seen, method, parameter)
    root: Tensor = Z
    return root


def check_floating(tensor: Tensor, what: str) -> None:
    """Raise DtypeError unless ``tensor`` holds real floating-point numbers."""
    if not tensor.is_floating_point():
        raise DtypeError(f"{what} must be floating point, got {str(tensor.dtype).removeprefix('torch.')}")
