"""Sums over the processes that train together."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, distributed

from gcp.autograd import ReverseMode


def several_processes() -> bool:
    """Whether there is a default process group with more than this process.

    >>> several_processes()
    False
    """
    return distributed.is_available() and distributed.is_initialized() and distributed.get_world_size() > 1


def sum_over_processes(tensor: Tensor) -> Tensor:
    """The sum of what each process of the default group gives, the same in all; of any shape, with a gradient."""
    total: Tensor = ProcessSum.apply(tensor)
    return total


class ProcessSum(ReverseMode):
    """S = sum of x over the processes, each of which has a loss of its own; dℓ/dx = sum of dℓ/dS over them."""

    generate_vmap_rule = False  # a collective is one call of all

    @staticmethod
    def forward(tensor: Tensor) -> Tensor:
        """The sum."""
        total = tensor.clone(memory_format=torch.contiguous_format)
        distributed.all_reduce(total)
        return total

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> Tensor:
        """The sum of the gradients, differentiable in its turn."""
        return sum_over_processes(grad)
