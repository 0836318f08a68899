"""A symmetric matrix as a vector."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from gcp.autograd import BothModes, keep
from gcp.features import mark_symmetric


def triangle_index(size: int, device: torch.device | None = None) -> Tensor:
    """Positions of the upper triangle in the flattened (size, size) matrix, row after row; (size (size + 1)/2,).

    >>> triangle_index(2)
    tensor([0, 1, 3])
    """
    row, column = torch.triu_indices(size, size, device=device)
    index: Tensor = row * size + column
    return index


def vech(matrix: Tensor, index: Tensor | None = None) -> Tensor:
    """Upper triangle with the diagonal, row after row: (..., n, n) to (..., n (n + 1)/2).

    Args:
        matrix: (..., n, n).
        index: `triangle_index(n)` on the matrix's device, to save computing it.

    >>> vech(torch.tensor([[1.0, 2.0], [2.0, 3.0]]))
    tensor([1., 2., 3.])
    """
    if index is None:
        index = triangle_index(matrix.shape[-1], matrix.device)
    return matrix.flatten(-2).index_select(-1, index)


@dataclass(frozen=True)
class Places:
    """Where entries of a matrix are in its triangle. No tuple, which torch would take for inputs of a Function.

    Attributes:
        index: `triangle_index(n)`.
        mirror, share: `mirrored_triangle` of it.
    """

    index: Tensor
    mirror: Tensor
    share: Tensor


class Triangle(BothModes):
    """`vech` of a matrix that is symmetric whatever it is made from: its gradient is symmetric, and marked as such."""

    @staticmethod
    def forward(matrix: Tensor, places: Places) -> Tensor:
        """(..., n (n + 1)/2)."""
        return vech(matrix, places.index)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
        """Keep the constants, which the layer has anyway."""
        ctx.size, ctx.places = inputs[0].shape[-1], inputs[1]
        keep(ctx)

    @staticmethod
    def backward(ctx: Any, grad: Tensor | None) -> tuple[Tensor | None, None]:
        """(..., n, n): of an entry off the diagonal half on either side of it."""
        if grad is None:
            return None, None
        shared = (grad * ctx.places.share.to(grad.dtype)).index_select(-1, ctx.places.mirror)
        return mark_symmetric(shared.reshape(*grad.shape[:-1], ctx.size, ctx.size)), None

    @staticmethod
    def tangent(ctx: Any, moved: Tensor | None, _: None) -> Tensor | None:
        """The triangle of a symmetric tangent."""
        return None if moved is None else vech(moved, ctx.places.index)


def mirrored_triangle(index: Tensor, size: int) -> tuple[Tensor, Tensor]:
    """For each entry of the (size, size) matrix its place in the triangle, flattened; and for each of those 1, or 1/2.

    >>> mirrored_triangle(triangle_index(2), 2)
    (tensor([0, 1, 1, 2]), tensor([1.0000, 0.5000, 1.0000]))
    """
    place = torch.zeros(size * size, dtype=torch.long, device=index.device)
    place[index] = torch.arange(len(index), device=index.device)
    place = place.view(size, size)
    share = torch.where(index % (size + 1) == 0, 1.0, 0.5)
    return torch.maximum(place, place.mT).flatten(), share.float()


class Vectorisation(nn.Module):
    """(..., n, n) to (..., out_features), symmetric matrices.

    Args:
        size: n.
        form: "upper", the upper triangle; "isometric", the same with sqrt(2) off the diagonal, so that inner products
            and norms of vectors are those of matrices; "full", all entries, row after row.
    """

    index: Tensor
    mirror: Tensor
    share: Tensor
    off_diagonal: Tensor

    def __init__(self, size: int, form: str = "upper") -> None:
        super().__init__()
        self.size = size
        self.form = form
        self.out_features = size * size if form == "full" else size * (size + 1) // 2
        for name, values in self._constants(None).items():
            self.register_buffer(name, values, persistent=False)

    def _constants(self, device: torch.device | None) -> dict[str, Tensor]:
        if self.form == "full":
            return {}
        index = triangle_index(self.size, device)
        mirror, share = mirrored_triangle(index, self.size)
        constants = {"index": index, "mirror": mirror, "share": share}
        return constants | {"off_diagonal": index % (self.size + 1) != 0} if self.form == "isometric" else constants

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> Vectorisation:
        """As in ``nn.Module``, on the way to another device; ``to_empty`` brings no values there."""
        super()._apply(fn, recurse)  # type: ignore[no-untyped-call]  # torch leaves it untyped
        self._fill(None)
        return self

    def _fill(self, device: torch.device | None) -> None:
        """Compute anew what no state dict holds, on ``device``; None: where it is."""
        for name, buffer in list(self.named_buffers(recurse=False)):
            setattr(self, name, self._constants(device or buffer.device)[name])

    def forward(self, matrix: Tensor, symmetric: bool = False) -> Tensor:
        """(..., n, n) to (..., out_features); of a matrix that cannot but be ``symmetric`` the gradient is, too."""
        if self.form == "full":
            return matrix.flatten(-2)
        if self.index.device != matrix.device:  # weights were assigned to a network on the meta device
            self._fill(matrix.device)
        if symmetric and not torch.compiler.is_compiling():
            vector = Triangle.apply(matrix, Places(self.index, self.mirror, self.share))
        else:
            vector = vech(matrix, self.index)
        return torch.where(self.off_diagonal, vector * 2**0.5, vector) if self.form == "isometric" else vector

    def extra_repr(self) -> str:
        """The form."""
        return self.form
