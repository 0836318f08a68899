"""Orders in which a symmetric matrix's triangle is written as a vector."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from gcp.errors import CheckpointError

# upper: (0, 0), (0, 1), (0, 2), (1, 1), ...  the upper triangle row after row, which is the lower column after column.
# lower: (0, 0), (1, 0), (1, 1), (2, 0), ...  the lower triangle row after row, which is the upper column after column.
ORDERS = ("upper", "lower")


def to_upper(weight: Tensor, order: str) -> Tensor:
    """Columns of a linear layer on a triangle in ``order``, rearranged for the upper triangle row after row.

    Args:
        weight: (out_features, n (n + 1)/2).
        order: one of ORDERS.

    Raises:
        CheckpointError: the number of columns is that of no triangle.
    """
    if order == "upper":
        return weight
    columns = weight.shape[1]
    size = (math.isqrt(8 * columns + 1) - 1) // 2
    if size * (size + 1) // 2 != columns:
        raise CheckpointError(
            f"triangle={order} cannot be: the classifier in the file reads vectors of length {columns}, "
            "which no triangle of a matrix has"
        )
    row, column = torch.triu_indices(size, size)  # each (columns,)
    return weight[:, column * (column + 1) // 2 + row]
