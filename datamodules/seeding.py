"""Random generators of one's own, so that no global random state is read or changed."""

from __future__ import annotations

import numpy as np
import torch


def private_generator(*parts: int) -> torch.Generator:
    """A CPU generator whose stream is a pure function of ``parts``.

    Unlike sums of seeds, ``(seed, epoch)`` and ``(seed + 1, epoch - 1)`` give unrelated streams.

    Args:
        *parts: non-negative integers, such as a seed and an epoch.
    """
    state = np.random.SeedSequence(parts).generate_state(1, np.uint64)[0]
    return torch.Generator().manual_seed(int(state) >> 1)  # manual_seed takes 63 bits of it
