"""Any spectral function of symmetric matrices and of covariances, differentiable by any spectral method."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from gcp.autograd import without_autocast
from gcp.covariance import covariance_root, spectral_method
from gcp.errors import OptionError
from gcp.features import channels_first, check_layout, check_matrix, symmetric
from gcp.scaling import largest_entry, safe_unit
from gcp.spectral.maps import SpectralMap, as_map, map_options
from gcp.spectral.maps.lookup import Pair
from gcp.spectral.matrix_function import MatrixFunction
from gcp.spectral.method import SpectralMethod
from gcp.spectral.nonfinite import zeroed
from gcp.spectral.spectral_options import EstimateOptions
from gcp.spectral.symmetry import symmetric_only
from gcp.tracing import constant

FunctionLike = str | SpectralMap | Pair


def spectral_function(
    matrix: Tensor,
    f: FunctionLike = "sqrt",
    method: str = "lyapunov",
    *,
    check_symmetric: bool = False,
    **options: Any,
) -> Tensor:
    """f of symmetric or Hermitian matrices, through their eigenvalues.

    The gradient is exact for ``method="lyapunov"`` (the default), at ties and for singular matrices too where f is
    smooth at 0; where f'(0) is infinite, as for the square root, nothing flows within the null space. Where f or f' is
    infinite at 0, or f lives on lam >= 0, eigenvalues of either sign up to n eps times the largest are null, eps being
    the roundoff of the matrix's own dtype: what storing and computing it in that dtype cannot tell from 0.
    Second derivatives and forward mode are exact for the same method, and refused for the others; where f'' is
    infinite, as that of the square root at 0, there are none.
    A result that its dtype cannot hold is an error. A gradient too large for it is not finite, as with torch's own
    functions: loss scaling looks for that, and takes a smaller scale.

    Args:
        matrix: (..., n, n), any floating dtype, real or complex; its symmetric or Hermitian part is taken.
        f: one of "sqrt", "inverse_sqrt", "power", "log", "exp_neg", a map of `gcp.spectral.maps`, or callables that map
            tensors elementwise: (function, derivative), and as a third the second derivative, if autograd of the
            derivative does not find it.
        method: one of `list_methods()`, the kernel of the gradient.
        check_symmetric: raise for a matrix that differs from its transpose by more than rounding.
        options: of f, given by name (``alpha`` of "power", ``eps`` and ``relative`` of all that live on lam >= 0), and
            of the method. ``eps`` is relative: f(lam + eps tr(P)/n), so that scaling P scales the result as f does;
            ``relative=False`` makes it absolute, f(lam + eps).

    Returns:
        (..., n, n), symmetric, in the dtype of ``matrix``.

    Raises:
        DtypeError: not a tensor of floating-point numbers.
        ShapeError: not square.
        NonFiniteError: NaN or infinity in ``matrix``.
        DomainError: not symmetric (when checked); a negative eigenvalue beyond rounding for a function that lives on
            lam >= 0 (rounding counts as 0); a singular matrix for a function that is infinite at 0 and has no eps; a
            user's function that is not finite at an eigenvalue; or a result the dtype cannot hold.
        UnknownNameError, OptionError: an unknown name, or an option out of place; "newton" serves "sqrt" and
            "inverse_sqrt" only.

    >>> spectral_function(torch.diag(torch.tensor([4.0, 1.0])), "sqrt")
    tensor([[2., 0.],
            [0., 1.]])
    >>> spectral_function(torch.diag(torch.tensor([4.0, 1.0])), "power", alpha=2).diagonal()
    tensor([16.,  1.])
    """
    result: Tensor = matrix_function(matrix, prepare(f, method, options), check_symmetric)
    return result


def matrix_function(matrix: Tensor, method: SpectralMethod, check_symmetric: bool = False) -> Tensor:
    """`spectral_function` with a method from `prepare`.

    >>> matrix_function(torch.diag(torch.tensor([4.0, 1.0])), prepare("sqrt", "lyapunov", {}))
    tensor([[2., 0.],
            [0., 1.]])
    """
    check_matrix(matrix, complex=True)
    method.options.check_channels(matrix.shape[-1])
    check_plain(method.options)
    if matrix.is_meta or not matrix.numel():  # a shape and a history, which is all there is to know
        return symmetric(matrix)
    batch = matrix.reshape(-1, *matrix.shape[-2:])
    if method.options.nonfinite == "zero":
        batch = zeroed(batch)
    if check_symmetric:
        batch = symmetric_only(batch)
    with without_autocast(matrix):
        parameter = method.parameter
        method = dataclasses.replace(method, of_matrix=True)
        degree = method.at(parameter).degree
        if degree is None:
            Z, _, _ = MatrixFunction.apply(batch, parameter, method, None)
        else:
            narrow = torch.float32 if method.options.precision == "float32" else batch.dtype
            root = safe_unit(largest_entry(batch.detach()).sqrt(), narrow)
            unit = root * root
            Z, _, _ = MatrixFunction.apply(batch / unit, parameter, method, unit)
            Z = Z * root ** (2 * degree)
    result: Tensor = Z.reshape(matrix.shape)
    return result


def covariance_function(
    features: Tensor,
    f: FunctionLike = "sqrt",
    method: str = "lyapunov",
    *,
    weights: Tensor | None = None,
    layout: str = "channels_first",
    **options: Any,
) -> Tensor:
    """f of the covariance of features over their positions, decomposing the smaller of Gram matrix and covariance.

    Args:
        features: (B, C, H, W), (B, C, L) or (B, C, T, H, W), any floating dtype; two positions or more. Without
            weights and shrinkage complex numbers, too: the covariance is (X - mean)(X - mean)^H/N.
        f, method, options: as in `spectral_function`. A covariance is singular more often than not, so an f that is
            infinite at 0 ("inverse_sqrt", "log", a negative power) needs eps. How the covariance is estimated is among
            the options of the method: ``centred=False`` for the second moment, ``shrinkage=0.1``, ``ledoit_wolf=True``.
        weights: (B, ...) like the positions: a mask of those that count, bool, or how much each counts, see
            `gcp.position_weights.shares`. What stands where nothing counts, NaN too, changes nothing.
        layout: "channels_first", or "tokens" for features (B, N, C).

    Returns:
        (B, C, C), symmetric, in the dtype of ``features``.

    Raises:
        ShapeError, DtypeError, NonFiniteError, DomainError: as `covariance_root`.
        UnknownNameError, OptionError: as `spectral_function`, and for an f that is infinite at 0 without eps.

    >>> features = torch.tensor([[[2.0, -2.0], [1.0, 1.0]]])  # one sample, two channels, of variance 4 and 0
    >>> covariance_function(features, "exp_neg").diagonal(dim1=-2, dim2=-1)
    tensor([[0.0183, 1.0000]])
    """
    prepared = prepare(f, method, options)
    function = prepared.function
    if not function.finite_at_zero:
        raise OptionError(
            f"{function.name} is infinite at 0, where covariances have eigenvalues; set eps, for instance eps=1e-5"
        )
    check_layout(layout)
    return covariance_root(channels_first(features) if layout == "tokens" else features, prepared, weights)


def check_plain(options: EstimateOptions) -> None:
    """Raise OptionError for options that say how a covariance is estimated, where there are no features to do so.

    >>> check_plain(EstimateOptions(shrinkage=0.1))
    Traceback (most recent call last):
    gcp.errors.OptionError: centred, shrinkage and ledoit_wolf are options of features, not of matrices; leave them out
    """
    if not options.plain:
        raise OptionError("centred, shrinkage and ledoit_wolf are options of features, not of matrices; leave them out")


def prepare(f: FunctionLike, method: str, options: Mapping[str, Any]) -> SpectralMethod:
    """The method with its function; ``options`` go to whichever of the two has them. Raises as `spectral_function`.

    >>> prepare("power", "taylor", {"alpha": 0.3, "degree": 50}).function
    Power(eps=0.0, relative=True, alpha=0.3, positive=False)
    """
    alpha = options.get("alpha")
    if torch.compiler.is_compiling() and isinstance(alpha, Tensor):  # which is no constant
        return _prepared(f, method, {**options, "alpha": 1.0}).at(alpha)
    return _prepared(f, method, options)


@constant
def _prepared(f: FunctionLike, method: str, options: Mapping[str, Any]) -> SpectralMethod:
    of_map = set(map_options(f))
    function = as_map(f, {name: value for name, value in options.items() if name in of_map})
    if function.parameter is None:  # f(0) and f'(0) are kept where they are asked for: a program cannot look at them
        _ = function.finite_at_zero if function.nonnegative else function.singular_at_zero
    return spectral_method(method, function, **{name: value for name, value in options.items() if name not in of_map})
