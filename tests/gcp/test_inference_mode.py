"""Evaluation under ``torch.inference_mode``, as Lightning does it."""

from __future__ import annotations

import torch

from gcp.pooling.factory import create_pooling


def test_a_batch_on_several_threads_gives_the_same_values():
    threads = torch.get_num_threads()
    pool, features = create_pooling("pade", 6), torch.randn(4, 6, 3, 3)
    try:
        torch.set_num_threads(2)
        expected = pool(features)
        with torch.inference_mode():
            assert torch.equal(pool(features), expected)
    finally:
        torch.set_num_threads(threads)
