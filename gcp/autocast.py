"""Where autocast is left: sums of products, and decompositions, need all digits their inputs have."""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext

import torch
from torch import Tensor


def without_autocast(tensor: Tensor) -> AbstractContextManager[object]:
    """A context in which operations on the device of ``tensor`` keep the dtypes of their inputs."""
    kind = tensor.device.type
    # The meta device has no autocast to switch off.
    return torch.autocast(kind, enabled=False) if torch.amp.is_autocast_available(kind) else nullcontext()
