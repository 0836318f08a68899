"""A symmetric matrix as a vector."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn


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


class Vectorisation(nn.Module):
    """(..., n, n) to (..., out_features), symmetric matrices.

    Args:
        size: n.
        form: "upper", the upper triangle; "isometric", the same with sqrt(2) off the diagonal, so that inner products
            and norms of vectors are those of matrices; "full", all entries, row after row.
    """

    index: Tensor
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
        constants = {"index": index, "off_diagonal": index % (self.size + 1) != 0}
        return constants if self.form == "isometric" else {"index": index}

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> Vectorisation:
        """As in ``nn.Module``, on the way to another device; ``to_empty`` brings no values there."""
        super()._apply(fn, recurse)  # type: ignore[no-untyped-call]  # torch leaves it untyped
        self._fill(None)
        return self

    def _fill(self, device: torch.device | None) -> None:
        """Compute anew what no state dict holds, on ``device``; None: where it is."""
        for name, buffer in list(self.named_buffers(recurse=False)):
            setattr(self, name, self._constants(device or buffer.device)[name])

    def forward(self, matrix: Tensor) -> Tensor:
        """(..., n, n) to (..., out_features)."""
        if self.form == "full":
            return matrix.flatten(-2)
        if self.index.device != matrix.device:  # weights were assigned to a network on the meta device
            self._fill(matrix.device)
        vector = vech(matrix, self.index)
        return torch.where(self.off_diagonal, vector * 2**0.5, vector) if self.form == "isometric" else vector

    def extra_repr(self) -> str:
        """The form."""
        return self.form
