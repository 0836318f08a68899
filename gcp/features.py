"""From feature maps to centred matrices and their second moments: what every second-order pooling starts with."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from gcp.autograd import ReverseMode, without_autocast
from gcp.errors import DtypeError, OptionError, ShapeError
from gcp.registry import nearest
from gcp.rounding import mean_rounding

FORMS = "(B, C, H, W), (B, C, L) or (B, C, T, H, W)"
# What torch computes with: not float8 and complex32.
NUMBERS = (torch.float16, torch.bfloat16, torch.float32, torch.float64, torch.complex64, torch.complex128)
LAYOUTS = ("channels_first", "tokens")


def flat_features(features: Tensor, positions: int = 2, complex: bool = False) -> Tensor:
    """Maps (B, C, H, W), sequences (B, C, L) and clips (B, C, T, H, W) as (B, C, N), N positions in whatever order.

    Args:
        features: any floating dtype.
        positions: the fewest positions that will do.
        complex: whether complex numbers will do.

    Raises:
        ShapeError: wrong number of dimensions, or too few positions.
        DtypeError: not floating point.

    >>> flat_features(torch.rand(2, 8, 5, 5)).shape
    torch.Size([2, 8, 25])
    """
    (check_numbers if complex else check_floating)(features, "features")
    if features.dim() not in (3, 4, 5):
        raise ShapeError(f"features must be {FORMS}, got shape {tuple(features.shape)}")
    flat = features.flatten(2)
    if flat.shape[-1] < positions:
        size = "x".join(map(str, features.shape[2:]))  # not before: the compiler has no numbers for sizes that vary
        raise ShapeError(
            f"a covariance needs two positions or more, got a feature map of {size}; "
            "use larger images, or a backbone with a smaller stride (last_stride=1)"
        )
    return flat


def check_channels(features: Tensor, channels: int) -> None:
    """Raise ShapeError unless ``features``, in a form of `flat_features`, have C = ``channels``; as `check_floating`.

    >>> check_channels(torch.rand(2, 8, 5, 5), 4)
    Traceback (most recent call last):
    gcp.errors.ShapeError: this layer pools 4 channels, got shape (2, 8, 5, 5)
    """
    check_floating(features, "features")
    if features.dim() in (3, 4, 5) and features.shape[1] != channels:
        tokens = features.dim() == 3 and features.shape[2] == channels
        hint = '; for tokens (B, N, C) say layout="tokens"' if tokens else ""
        raise ShapeError(f"this layer pools {channels} channels, got shape {tuple(features.shape)}{hint}")


def check_layout(layout: str) -> None:
    """Raise OptionError unless ``layout`` is one of LAYOUTS.

    >>> check_layout("token")
    Traceback (most recent call last):
    gcp.errors.OptionError: layout must be one of channels_first, tokens, got 'token' (did you mean 'tokens'?)
    """
    if layout not in LAYOUTS:
        raise OptionError(f"layout must be one of {', '.join(LAYOUTS)}, got {layout!r}{nearest(str(layout), LAYOUTS)}")


def channels_first(tokens: Tensor) -> Tensor:
    """Tokens (B, N, C) as (B, C, N). Raises ShapeError for another number of dimensions, DtypeError.

    >>> channels_first(torch.rand(2, 196, 8)).shape
    torch.Size([2, 8, 196])
    """
    check_floating(tokens, "tokens")
    if tokens.dim() != 3:
        raise ShapeError(f"tokens must be (B, N, C), got shape {tuple(tokens.shape)}")
    return tokens.mT


def check_matrix(matrix: Tensor, complex: bool = False) -> None:
    """Raise DtypeError or ShapeError unless ``matrix`` is a floating-point tensor (..., n, n), maybe a complex one.

    >>> check_matrix(torch.rand(2, 3))
    Traceback (most recent call last):
    gcp.errors.ShapeError: matrix must be (..., n, n), got shape (2, 3)
    """
    (check_numbers if complex else check_floating)(matrix, "matrix")
    if matrix.dim() < 2 or matrix.shape[-1] != matrix.shape[-2]:
        raise ShapeError(f"matrix must be (..., n, n), got shape {tuple(matrix.shape)}")


def check_floating(tensor: Tensor, what: str) -> None:
    """Raise DtypeError unless ``tensor`` is a tensor of real floating-point numbers.

    >>> check_floating(torch.tensor([1, 2]), "features")
    Traceback (most recent call last):
    gcp.errors.DtypeError: features must be floating point, got int64
    """
    _check_tensor(tensor, what)
    if not (tensor.is_floating_point() and tensor.dtype in NUMBERS):
        raise DtypeError(f"{what} must be floating point, got {str(tensor.dtype).removeprefix('torch.')}")


def check_numbers(tensor: Tensor, what: str) -> None:
    """Raise DtypeError unless ``tensor`` is a tensor of real or complex floating-point numbers.

    >>> check_numbers(torch.tensor([True]), "A")
    Traceback (most recent call last):
    gcp.errors.DtypeError: A must be floating point or complex, got bool
    """
    _check_tensor(tensor, what)
    if tensor.dtype not in NUMBERS:
        raise DtypeError(f"{what} must be floating point or complex, got {str(tensor.dtype).removeprefix('torch.')}")


def _check_tensor(tensor: object, what: str) -> None:
    if not isinstance(tensor, Tensor):
        kind = f"{type(tensor).__module__}.{type(tensor).__qualname__}".removeprefix("builtins.")
        raise DtypeError(f"{what} must be a torch.Tensor, got {kind}; torch.as_tensor makes one")
    if tensor.layout is not torch.strided:
        layout = str(tensor.layout).removeprefix("torch.")
        raise DtypeError(f"{what} must be dense, got layout {layout}; to_dense() makes it so")


def sample_list(mask: Tensor) -> tuple[int, ...]:
    """Positions at which ``mask`` (B,) is true, for the errors that name samples.

    >>> sample_list(torch.tensor([False, True, True]))
    (1, 2)
    """
    return tuple(mask.nonzero().flatten().tolist())


def at_least_float32(dtype: torch.dtype) -> torch.dtype:
    """What values of ``dtype`` are computed with: half precision has too few digits for sums of products.

    >>> at_least_float32(torch.bfloat16), at_least_float32(torch.float64)
    (torch.float32, torch.float64)
    """
    return torch.promote_types(dtype, torch.float32)


def layout_of(features: Tensor) -> torch.memory_format:
    """The memory format of maps (B, C, H, W) or clips (B, C, T, H, W), as torch's own layers see it.

    >>> layout_of(torch.rand(2, 8, 5, 5).to(memory_format=torch.channels_last))
    torch.channels_last
    """
    last = {4: torch.channels_last, 5: torch.channels_last_3d}.get(features.dim())
    if last is None or features.is_contiguous() or not features.is_contiguous(memory_format=last):
        return torch.contiguous_format
    return last


def working(flat: Tensor) -> Tensor:
    """``flat`` in its own dtype, float32 at least.

    >>> working(torch.rand(2, 8, 25).half()).dtype
    torch.float32
    """
    return flat.to(at_least_float32(flat.dtype))


def centred(flat: Tensor) -> Tensor:
    """Xc = (X - mean over positions)/sqrt(N), whose product Xc Xc^T is the covariance: (B, C, N) to (B, C, N).

    A sample that is constant but for the rounding of its mean becomes exactly 0, and so does its gradient.

    >>> Xc = centred(torch.tensor([[[2.0, -2.0], [1.0, 1.0]]]))
    >>> (Xc @ Xc.mT).round(decimals=4)
    tensor([[[4., 0.],
             [0., 0.]]])
    """
    mean = flat.mean(-1, keepdim=True)
    deviation = flat - mean
    unresolved = mean_rounding(mean.detach()).unsqueeze(-1)
    size = torch.linalg.vector_norm(deviation.detach(), dim=(-2, -1), keepdim=True)
    root = flat.shape[-1] ** 0.5
    return torch.where(size <= root * unresolved, 0, deviation / root)


def mark_symmetric(matrix: Tensor) -> Tensor:
    """``matrix``, remembered to be symmetric until it is changed; the result of any operation on it is not.

    >>> G = mark_symmetric(torch.ones(2, 2))
    >>> is_marked(G), is_marked(G + 0), is_marked(G.mul_(2))
    (True, False, False)
    """
    if not (torch.compiler.is_compiling() or matrix.is_inference()):
        matrix._gcp_symmetric = matrix._version  # type: ignore[attr-defined]  # a note on the tensor itself
    return matrix


def is_marked(matrix: Tensor) -> bool:
    """Whether `mark_symmetric` was called on this very tensor, and nothing has changed it since.

    >>> is_marked(torch.eye(2))
    False
    """
    return not torch.compiler.is_compiling() and getattr(matrix, "_gcp_symmetric", None) == matrix._version


def symmetric(matrix: Tensor) -> Tensor:
    """sym(G) = (G + G^H)/2, of a complex matrix the Hermitian part: (..., n, n) to (..., n, n).

    >>> symmetric(torch.tensor([[1.0, 4.0], [0.0, 1.0]]))
    tensor([[1., 2.],
            [2., 1.]])
    """
    half = matrix / 2  # twice the largest number would be infinite
    return half + half.mH


def eye_like(matrix: Tensor) -> Tensor:
    """The identity (n, n) in the dtype and on the device of ``matrix`` (..., n, n).

    >>> eye_like(torch.rand(7, 2, 2))
    tensor([[1., 0.],
            [0., 1.]])
    """
    return torch.eye(matrix.shape[-1], dtype=matrix.dtype, device=matrix.device)


def second_moment(flat: Tensor) -> Tensor:
    """X X^T, (B, C, N) to (B, C, C), in full precision forward and backward, under autocast too.

    >>> second_moment(torch.tensor([[[1.0, 2.0], [0.0, 1.0]]]))
    tensor([[[5., 2.],
             [2., 1.]]])
    """
    moment: Tensor = SecondMoment.apply(flat)
    return moment


class SecondMoment(ReverseMode):
    """M = X X^T; dℓ/dX = 2 sym(dℓ/dM) X."""

    @staticmethod
    def forward(flat: Tensor) -> Tensor:
        """(B, C, N) to (B, C, C)."""
        with without_autocast(flat):
            return flat @ flat.mT

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Tensor], output: Tensor) -> None:
        """Keep X."""
        ctx.save_for_backward(*inputs)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> Tensor:
        """dℓ/dX (B, C, N) from dℓ/dM (B, C, C); differentiable in its turn."""
        (flat,) = ctx.saved_tensors
        with without_autocast(flat):
            result: Tensor = 2 * symmetric(grad) @ flat
            return result


def full_product(A: Tensor, B: Tensor) -> Tensor:
    """A B, (..., m, k) and (..., k, n) to (..., m, n), in full precision forward and backward, under autocast too.

    >>> full_product(torch.tensor([[1.0, 2.0]]), torch.tensor([[3.0], [1.0]]))
    tensor([[5.]])
    """
    product: Tensor = FullProduct.apply(A, B)
    return product


class FullProduct(ReverseMode):
    """P = A B; dℓ/dA = dℓ/dP B^T, dℓ/dB = A^T dℓ/dP."""

    @staticmethod
    def forward(A: Tensor, B: Tensor) -> Tensor:
        """(..., m, k) and (..., k, n) to (..., m, n)."""
        with without_autocast(A):
            return A @ B

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Tensor, Tensor], output: Tensor) -> None:
        """Keep both."""
        ctx.save_for_backward(*inputs)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, Tensor]:
        """dℓ/dA and dℓ/dB; differentiable in their turn."""
        A, B = ctx.saved_tensors
        return full_product(grad, B.mT), full_product(A.mT, grad)
