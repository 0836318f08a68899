"""What of the covariance's root a linear classifier sees, by the geometry it stands for."""

from __future__ import annotations

from torch import Tensor

from gcp.features import eye_like


def classifier_map(root: Tensor, name: str) -> Tensor:
    """Q (..., n, n) as the classifiers of arXiv 2407.10484 take it; for the square root their 1/theta is 2.

    Args:
        root: Q, symmetric.
        name: "power", Q: a linear classifier of it is one of the power-Euclidean metric up to a factor (Pow-EMLR);
            "scaled", 2 Q: with that factor (ScalePow-EMLR); "tangent", 2 (Q - I): the metric's logarithm at the
            identity, a classifier in that tangent space (Pow-TMLR).

    >>> import torch
    >>> classifier_map(torch.diag(torch.tensor([3.0, 1.0])), "tangent").diagonal()
    tensor([4., 0.])
    """
    if name == "power":
        return root
    return 2 * root if name == "scaled" else 2 * (root - eye_like(root))
