"""The classifier on top of the pooled vector."""

from __future__ import annotations

import itertools
from collections.abc import Sequence

from torch import nn

from gcp.errors import OptionError


def build_classifier(widths: Sequence[int], dropout: float | None = None) -> nn.Module:
    """From the pooled vector to the logits: (B, widths[0]) to (B, widths[-1]).

    One linear layer for two widths; otherwise linear layers with ReLU, and ``dropout`` if given, between them. The
    positions in the sequence are those of AlexNet and VGG in the reference: 0, 2, 4 and with dropout 0, 3, 6.

    Raises OptionError for a width below 1.
    """
    if min(widths) < 1:
        raise OptionError(f"hidden widths must be at least 1, got {list(widths[1:-1])}")
    *body, last = [nn.Linear(before, after) for before, after in itertools.pairwise(widths)]
    if not body:
        return last
    layers: list[nn.Module] = []
    for linear in body:
        layers += [linear, nn.ReLU(inplace=True), *([] if dropout is None else [nn.Dropout(dropout)])]
    return nn.Sequential(*layers, last)
