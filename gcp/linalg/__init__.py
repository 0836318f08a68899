"""Decompositions whose gradients do not blow up, and functions that need no decomposition's vectors to be well defined.

As `torch.linalg`, on matrices (..., m, n).
"""

from gcp.linalg.singular_function import singular_function as singular_function

__all__ = ["singular_function"]
