"""The normalisation of bilinear pooling: signed square root, then unit length."""

import torch
from torch import Tensor


def signed_root(values: Tensor, unit: Tensor, eps: float) -> Tensor:
    """m/sqrt(|m| + eps) with m = values/unit: sign(m) sqrt(|m|), but smooth at 0, where its slope is 1/sqrt(eps).

    Args:
        values: any shape.
        unit: broadcast with ``values``, at least 0: what eps is measured in; where it is 0, 1 stands for it.
        eps: above 0.
    """
    m = values / torch.where(unit == 0, 1, unit)
    # Both sides over sqrt(eps): ONNX's optimiser takes adding a number like 1e-8 for adding 0, and leaves it out.
    rooted: Tensor = (m / eps**0.5) / (m.abs() / eps + 1).sqrt()
    return rooted


def unit_length(vector: Tensor) -> Tensor:
    """y/|y|, (B, n) to (B, n); a sample that is 0 gives 0."""
    square = vector.square().sum(-1, keepdim=True)
    return vector / torch.where(square == 0, 1, square).sqrt()
