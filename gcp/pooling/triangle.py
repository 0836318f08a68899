"""vech: the upper triangle of a symmetric matrix as a vector."""

import torch
from torch import Tensor


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
