"""Layouts of published checkpoints: what their keys are called here, and the order they write a triangle in."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from gcp.errors import CheckpointError

# Beginnings of keys: the reference's (DifferentiableSVD), its parent project's (fast-MPN-COV), and our own runs'.
PREFIXES = {
    "representation.conv_dr_block.": "representation.reduction.",
    "layer_reduce.": "representation.reduction.0.",
    "layer_reduce_bn.": "representation.reduction.1.",
    "fc.": "classifier.",
    "model.": "",
}

# upper: (0, 0), (0, 1), (0, 2), (1, 1), ...  the upper triangle row after row, which is the lower column after column.
# lower: (0, 0), (1, 0), (1, 1), (2, 0), ...  the lower triangle row after row, which is the upper column after column.
ORDERS = ("upper", "lower")


def our_key(key: str, original_names: Sequence[str] = ()) -> str:
    """What a key of a published checkpoint, without ``module.``, is called in our networks.

    Args:
        key: of any of the layouts; ours stays as it is.
        original_names: the backbone's children as its original calls them ("conv1", "layer1"), which the parent project
            writes at the top level.

    >>> our_key("fc.weight")
    'classifier.weight'
    >>> our_key("layer1.0.conv1.weight", original_names=["conv1", "bn1", "layer1"])
    'features.2.0.conv1.weight'
    """
    for prefix, ours in PREFIXES.items():
        if key.startswith(prefix):
            return ours + key.removeprefix(prefix)
    first, _, rest = key.partition(".")
    if first in original_names:
        return f"features.{list(original_names).index(first)}.{rest}"
    return key


def to_upper(weight: Tensor, order: str) -> Tensor:
    """Columns of a linear layer on a triangle in ``order``, rearranged for the upper triangle row after row.

    Args:
        weight: (out_features, n (n + 1)/2).
        order: one of ORDERS.

    Raises:
        CheckpointError: the number of columns is that of no triangle.

    >>> to_upper(torch.tensor([[0, 10, 11, 20, 21, 22]]), "lower")  # 10: row 1, column 0
    tensor([[ 0, 10, 20, 11, 21, 22]])
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
