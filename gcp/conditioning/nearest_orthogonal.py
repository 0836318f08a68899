"""Nearest orthogonal gradient."""

from __future__ import annotations

import torch
from torch import Tensor

from gcp.linalg import polar


@torch.no_grad()
def nearest_orthogonal(gradient: Tensor) -> Tensor:
    """The orthogonal matrix nearest to a layer's gradient in the Frobenius norm (arXiv 2207.02119).

    It is the polar factor U V^T of G = U diag(s) V^T: all singular values become 1, so that a step changes the weights
    by the same amount in every direction the gradient has. What the gradient does not have at all, a singular value
    that is 0 to the precision of its type, stays 0: nothing says where to go there.

    Args:
        gradient: (m, ...), the gradient of a weight with m outputs, taken as a matrix (m, n).

    Returns:
        the same shape and dtype, of whatever scale the gradient was; a gradient that is not finite comes back as it is,
        for those who look for that.

    >>> nearest_orthogonal(torch.tensor([[3.0, 0.0], [0.0, -1e-3]]))
    tensor([[ 1.,  0.],
            [ 0., -1.]])
    """
    if not gradient.isfinite().all() or not gradient.numel():
        return gradient
    return polar(gradient.flatten(1), precision="float64").view_as(gradient)
