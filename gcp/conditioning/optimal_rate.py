"""Optimal learning rate."""

from __future__ import annotations

import torch
from torch import Tensor


@torch.no_grad()
def optimal_rate(weight: Tensor, gradient: Tensor) -> float:
    """The step that keeps a layer's weights nearest to orthogonal (arXiv 2207.02119).

    With w the weights and l their gradient, as vectors, (w.w l.w)/(w.w l.l + 2 (l.w)^2), which is
    (|w|/|l|) c/(1 + 2 c^2), c the cosine between the two. The authors use it where it is positive and below the
    schedule's learning rate.

    Args:
        weight: the weights, of any shape.
        gradient: their gradient, of the same shape.

    Returns:
        the step, of either sign; 0 where one of the two is 0, and NaN where it is not finite.

    >>> round(optimal_rate(torch.tensor([3.0, 4.0]), torch.tensor([1.0, 0.0])), 4)  # 25 * 3/(25 * 1 + 2 * 9)
    1.7442
    """
    w, l = weight.double().flatten(), gradient.double().flatten()  # noqa: E741  # the paper's letters
    w_size, l_size = (float(torch.linalg.vector_norm(each)) for each in (w, l))
    if w_size == 0 or l_size == 0:
        return 0.0
    cosine = float((w / w_size) @ (l / l_size))
    return w_size / l_size * cosine / (1 + 2 * cosine**2)
