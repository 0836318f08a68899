"""A symmetric matrix as a vector."""

import torch
from torch import Tensor, nn


def triangle_index(size: int) -> Tensor:
    """Positions of the upper triangle in the flattened (size, size) matrix, row after row; (size (size + 1)/2,)."""
    row, column = torch.triu_indices(size, size)
    index: Tensor = row * size + column
    return index


def vech(matrix: Tensor, index: Tensor | None = None) -> Tensor:
    """Upper triangle with the diagonal, row after row: (..., n, n) to (..., n (n + 1)/2).

    Args:
        matrix: (..., n, n).
        index: `triangle_index(n)` on the matrix's device, to save computing it.
    """
    if index is None:
        index = triangle_index(matrix.shape[-1]).to(matrix.device)
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
        self.form = form
        self.out_features = size * size if form == "full" else size * (size + 1) // 2
        if form != "full":
            index = triangle_index(size)
            self.register_buffer("index", index, persistent=False)
            if form == "isometric":
                self.register_buffer("off_diagonal", index % (size + 1) != 0, persistent=False)

    def forward(self, matrix: Tensor) -> Tensor:
        """(..., n, n) to (..., out_features)."""
        if self.form == "full":
            return matrix.flatten(-2)
        vector = vech(matrix, self.index)
        return torch.where(self.off_diagonal, vector * 2**0.5, vector) if self.form == "isometric" else vector

    def extra_repr(self) -> str:
        """The form."""
        return self.form
