"""Weights of classes in the training loss, for data that have more images of some than of others."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from gcp.errors import DataError, OptionError

BALANCED = "balanced"
UNBALANCED = 1.25  # times as many training images of the largest class as of the smallest


class WeightedCrossEntropy(nn.Module):
    """Cross-entropy whose terms, one for each class, have weights: sum_ic w_c q_ic (-log p_ic) / sum_ic w_c q_ic.

    The targets q are labels or, of mixed images, probabilities, and are smoothed first. The mean is the weighted one in
    every case, so that weights alone, without their scale, matter; torch's own divides by the number of images where
    the targets are probabilities and by the weights of the unsmoothed labels where they are labels.

    Args:
        weights: (K,), greater than 0.
        label_smoothing: share of each target that is spread over all classes.
    """

    weights: Tensor

    def __init__(self, weights: Sequence[float], label_smoothing: float = 0.0) -> None:
        super().__init__()
        self.register_buffer("weights", torch.tensor(weights, dtype=torch.float32), persistent=False)
        self.label_smoothing = label_smoothing

    def forward(self, logits: Tensor, targets: Tensor) -> Tensor:
        """Loss of logits (B, K) and labels (B,) or probabilities (B, K).

        >>> logits = torch.tensor([[2.0, 0.0], [0.0, 0.0]])
        >>> loss = WeightedCrossEntropy([1.0, 3.0])(logits, torch.tensor([0, 1]))
        >>> bool(loss.isclose(F.cross_entropy(logits, torch.tensor([0, 1]), torch.tensor([1.0, 3.0]))))
        True
        """
        classes = logits.shape[-1]
        q = F.one_hot(targets, classes).to(logits.dtype) if targets.dim() == 1 else targets
        q = (1 - self.label_smoothing) * q + self.label_smoothing / classes
        weighted = q * self.weights
        loss: Tensor = -(weighted * logits.log_softmax(-1)).sum() / weighted.sum()
        return loss


def resolved_weights(chosen: Any, counts: np.ndarray | None) -> list[float] | None:
    """The weights that ``training.class_weights`` asks for.

    Args:
        chosen: null; "balanced", which makes every class weigh the same, N / (K N_c); or a number for each class.
        counts: (K,) training images of each class; None: the dataset does not say.

    Raises:
        DataError: balanced weights of a dataset that does not say its labels, or has a class without training images.
        OptionError: another number of weights than classes.

    >>> resolved_weights("balanced", np.array([30, 10]))
    [0.6666666666666666, 2.0]
    """
    if chosen is None:
        return None
    if chosen != BALANCED:
        if counts is not None and len(chosen) != len(counts):
            raise OptionError(
                f"training.class_weights has {len(chosen)} numbers and the dataset {len(counts)} classes; give one each"
            )
        return [float(weight) for weight in chosen]
    if counts is None:
        raise DataError(
            "training.class_weights=balanced needs the labels of the training images, which this data module does not "
            "say; give it the property train_labels, or a weight for each class: training.class_weights=[1,2,...]"
        )
    if not counts.all():
        raise DataError(
            f"training.class_weights=balanced: class {int(counts.argmin())} has no training image; give a weight for "
            "each class"
        )
    weights: list[float] = (counts.sum() / (len(counts) * counts)).tolist()
    return weights


def unbalanced(counts: np.ndarray | None) -> bool:
    """Whether the largest class has more than `UNBALANCED` times the training images of the smallest."""
    return counts is not None and bool(counts.max() > UNBALANCED * counts.min())
