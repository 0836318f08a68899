"""How abruptly the gradient of a parameter changes along its own direction."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn

ETAS = (0.25, 0.5, 1.0, 2.0)  # steps to try, in units of the learning rate that is trained with


def effective_smoothness(
    loss: Callable[[], Tensor], parameter: nn.Parameter, steps: Sequence[float], modules: Sequence[nn.Module] = ()
) -> float:
    """Effective beta-smoothness: the largest change of the gradient over the length of the step that caused it.

    max over eta in ``steps`` of |g(w - eta g(w)) - g(w)| / |eta g(w)|, with g = dℓ/dw and all other parameters fixed
    (Santurkar et al., NeurIPS 2018, arXiv 1805.11604, section 3.1, where it is taken along the gradient's direction;
    used for the convolution before a spectral layer in arXiv 2105.02498).

    Args:
        loss: computes the loss on the same samples every time it is called.
        parameter: w; as before when the call ends.
        steps: learning rates eta to try, above 0.
        modules: modules whose buffers (running statistics) are put back.

    Returns:
        at least 0; NaN where the gradient is 0 or not finite.

    >>> w = nn.Parameter(torch.tensor([1.0, 1.0]))
    >>> round(effective_smoothness(lambda: 3 * w.square().sum(), w, steps=[0.1]), 4)  # the gradient is 6 w
    6.0
    """
    kept = [(buffer, buffer.clone()) for module in modules for buffer in module.buffers()]
    start = parameter.detach().clone()
    try:
        gradient = _gradient(loss, parameter)
        size = torch.linalg.vector_norm(gradient)
        largest = torch.zeros((), dtype=gradient.dtype, device=gradient.device)
        for eta in steps:
            with torch.no_grad():
                parameter.copy_(start - eta * gradient)
            change = torch.linalg.vector_norm(_gradient(loss, parameter) - gradient)
            largest = torch.maximum(largest, change / (eta * size))
        return float(largest) if torch.isfinite(size) and size > 0 else float("nan")
    finally:
        with torch.no_grad():
            parameter.copy_(start)
            for buffer, value in kept:
                buffer.copy_(value)


def _gradient(loss: Callable[[], Tensor], parameter: nn.Parameter) -> Tensor:
    with torch.enable_grad():
        (gradient,) = torch.autograd.grad(loss(), parameter)
    return gradient
