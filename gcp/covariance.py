"""Functions of covariances, as plain functions of features."""

from __future__ import annotations

import dataclasses

import torch
from torch import Tensor

from gcp.autograd import without_autocast
from gcp.errors import OptionError
from gcp.estimate import as_features, moment_root, shrinkage_intensity, shrunk, with_identity
from gcp.features import at_least_float32, flat_features
from gcp.methods import METHODS, SPECTRAL, MethodInfo, SpectralOptions, SquareRootOptions
from gcp.options import make_options, option_names
from gcp.position_weights import Shares, shares
from gcp.registry import resolve
from gcp.scaling import in_safe_units
from gcp.spectral.covariance_function import CovarianceFunction
from gcp.spectral.maps import SpectralMap, SquareRoot
from gcp.spectral.maps.shifted import Shifted
from gcp.spectral.method import SpectralMethod
from gcp.spectral.range import require_in_range


def spectral_method(name: str | MethodInfo, function: SpectralMap | None = None, **options: object) -> SpectralMethod:
    """The spectral method of that name with its options, ready for `covariance_root`.

    Args:
        name: one of `list_methods()`, or its entry.
        function: the map applied to the eigenvalues; None: the square root.
        options: the method's own.

    Raises:
        UnknownNameError: no such method.
        OptionError: not a spectral method, an option it does not have or that is out of range, or a function it
            cannot serve.

    >>> spectral_method("taylor", degree=50).options.degree
    50
    """
    info = name if isinstance(name, MethodInfo) else METHODS.get(name)
    if info.kernel is None:
        raise OptionError(f"'{info.name}' is no spectral method; the spectral methods are {', '.join(SPECTRAL)}")
    for layer_option in option_names(SquareRootOptions):
        if layer_option in options:
            raise OptionError(f"{layer_option} is an option of pooling layers; a spectral function returns matrices")
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
    return SpectralMethod(resolve(info.kernel), resolve(info.keep), built, function, info.exact, name=info.name)


def covariance_root(features: Tensor, method: SpectralMethod, weights: Tensor | None = None) -> Tensor:
    """Square root of the covariance of features over their positions, or what other function the method carries.

    Args:
        features: (B, C, H, W), (B, C, L) or (B, C, T, H, W), any floating dtype; without weights and shrinkage complex
            numbers, too.
        method: from `spectral_method`; decides the gradient, the precision of the computation, and by its options what
            covariance is meant.
        weights: of the positions, see `gcp.position_weights.shares`; None: all count the same.

    Returns:
        (B, C, C), symmetric, in the dtype of ``features``.

    Raises:
        ShapeError: wrong number of dimensions, or fewer than two positions.
        DtypeError: not floating point.
        NonFiniteError: NaN or infinity in ``features``; names the samples.
        DecompositionError: a sample whose decomposition does not converge in any way; names it.
        DomainError: features whose squares, or whose power, the type cannot hold; or as `shares`, for weights.

    >>> features = torch.tensor([[[2.0, -2.0], [1.0, 1.0]]])  # one sample, two channels, of variance 4 and 0
    >>> covariance_root(features, spectral_method("pade")).diagonal(dim1=-2, dim2=-1)
    tensor([[2., 0.]])
    """
    plain = weights is None and method.options.plain
    flat = flat_features(features, method.options.fewest_positions, complex=plain)
    method.options.check_channels(flat.shape[1])
    positions = None
    if weights is not None:
        positions = shares(weights, features, method.working, method.options.fewest_positions)
        flat = positions.of(flat)
    parameter = method.parameter
    degree = method.at(parameter).degree
    if degree is None:
        return _estimated(flat, parameter, method, positions)[0]

    def root(flat: Tensor) -> Tensor:
        Z, _, eigenvalues = _estimated(flat, parameter, method, positions)
        seen.append(eigenvalues)
        return Z

    seen: list[Tensor] = []
    squares_fit = torch.finfo(flat.dtype).max < torch.finfo(method.working).max
    Z = root(flat) if squares_fit else in_safe_units(root, flat, 2 * degree, method.working)
    unbounded = isinstance(degree, Tensor) or abs(degree) != 0.5  # otherwise Z is in range if the features, or eps, are
    if unbounded and method.options.nonfinite != "nan":
        require_in_range(Z, seen[0], method.function.name)
    return Z


def decomposed_root(features: Tensor, method: SpectralMethod) -> tuple[Tensor, Tensor, Tensor]:
    """`covariance_root` with the eigenpairs it was made from.

    Returns:
        the root (B, C, C); eigenvectors U (B, C, n), null ones 0, and eigenvalues (B, n) of the covariance, descending,
        both without history.

    >>> features = torch.tensor([[[2.0, -2.0], [1.0, 1.0]]])
    >>> decomposed_root(features, spectral_method("pade"))[2]
    tensor([[4., 0.]], dtype=torch.float64)
    """
    flat = flat_features(features)
    method.options.check_channels(flat.shape[1])
    return _decomposed(flat, method.parameter, method)


def _estimated(
    flat: Tensor, parameter: Tensor | None, method: SpectralMethod, positions: Shares | None
) -> tuple[Tensor, Tensor, Tensor]:
    """`_decomposed` of the covariance that the method's options and the weights describe."""
    options = method.options
    if positions is None and options.plain:
        return _decomposed(flat, parameter, method)
    finite = flat.isfinite().all(-1).all(-1)[:, None, None]
    Y = moment_root(torch.where(finite, flat, 0).to(method.working), positions, options.centred)
    a = shrinkage_intensity(Y, positions, options)
    if a is not None and parameter is not None:
        Y = with_identity(Y, a)
    elif a is not None:
        Y, shift = shrunk(Y, a)
        parameter = shift.flatten(1)
        method = dataclasses.replace(method, function=Shifted(method.function, parameter.detach()))
    products = method.working if options.precision == "float64" else at_least_float32(flat.dtype)
    # What is not finite is met where it always is, and no gradient comes past it.
    Z, U, eigenvalues = _decomposed(torch.where(finite, as_features(Y), torch.nan).to(products), parameter, method)
    return Z.to(flat.dtype), U, eigenvalues


def _decomposed(flat: Tensor, parameter: Tensor | None, method: SpectralMethod) -> tuple[Tensor, Tensor, Tensor]:
    with without_autocast(flat):
        Z, U, eigenvalues, _ = CovarianceFunction.apply(flat, parameter, method)
    return Z, U.detach(), eigenvalues.detach()
