"""The values that the processes of a run have, brought together in each of them."""

from __future__ import annotations

import torch
from torch import Tensor
from torchmetrics.utilities.distributed import gather_all_tensors


def gathered(value: Tensor) -> Tensor:
    """(processes, ...) from a ``value`` (...) that has the same shape in all of them."""
    if not (torch.distributed.is_available() and torch.distributed.is_initialized()):
        return value[None]
    return torch.stack(gather_all_tensors(value))
