"""Positions in a batch, for messages."""

from torch import Tensor


def sample_list(mask: Tensor) -> tuple[int, ...]:
    """Positions at which ``mask`` (B,) is true."""
    return tuple(mask.nonzero().flatten().tolist())
