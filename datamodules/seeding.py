"""Random generators of one's own, so that no global random state is read or changed."""

from __future__ import annotations

import numpy as np
import torch


def private_seed(*parts: int) -> int:
    """A seed of 63 bits, a pure function of ``parts``, non-negative integers such as a seed and an epoch.

    Unlike sums of seeds, ``(seed, epoch)`` and ``(seed + 1, epoch - 1)`` give unrelated ones.
    """
    return int(np.random.SeedSequence(parts).generate_state(1, np.uint64)[0]) >> 1


def private_generator(*parts: int) -> torch.Generator:
    """A CPU generator that starts from `private_seed`."""
    return torch.Generator().manual_seed(private_seed(*parts))
