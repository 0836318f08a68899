"""What becomes of a transformer's class token: its logits beside those of the pooled patches, or one vector of both."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from gcp.errors import OptionError
from gcp.plugins import size_of
from gcp.registry import nearest

FUSIONS = ("sum", "concat")


class SummedLogits(nn.Module):
    """Logits of the pooled patches plus logits of the class token, each by its own classifier (arXiv 2104.10935).

    It reads one vector of both, the patches first, of which the token is the last ``num_features`` numbers.
    """

    def __init__(self, pooled: nn.Module, token: nn.Module, num_pooled: int, num_features: int) -> None:
        super().__init__()
        self.pooled = pooled
        self.token = token
        self.sizes = [num_pooled, num_features]
        self.in_features = num_pooled + num_features

    @property
    def out_features(self) -> int:
        """How many logits."""
        return size_of(self.token, "out_features", "classifier")

    def forward(self, vector: Tensor) -> Tensor:
        """(B, num_pooled + num_features) to (B, num_classes)."""
        pooled, token = torch.split(vector, self.sizes, -1)
        parts = [self.pooled(pooled), self.token(token)]
        logits: Tensor = parts[0] + parts[1] if self.out_features else torch.cat(parts, -1)
        return logits


class JointClassifier(nn.Module):
    """Logits of pooled patches and class token as one vector, the patches first."""

    def __init__(self, joint: nn.Module) -> None:
        super().__init__()
        self.joint = joint

    def forward(self, vector: Tensor) -> Tensor:
        """(B, out_features + num_features) to (B, num_classes)."""
        logits: Tensor = self.joint(vector)
        return logits


def check_class_token(fusion: str | None, has_token: bool, name: str) -> None:
    """Raise OptionError unless ``fusion`` is None, or one of FUSIONS and the network, called ``name``, has the token.

    >>> check_class_token("sum", False, "tiny")
    Traceback (most recent call last):
    gcp.errors.OptionError: the backbone tiny has no class token to add (class_token=sum): leave class_token out
    """
    if fusion is None:
        return
    if fusion not in FUSIONS:
        raise OptionError(f"class_token must be None or one of {', '.join(FUSIONS)}, got {fusion!r}"
                          f"{nearest(str(fusion), FUSIONS)}")  # fmt: skip
    if not has_token:
        raise OptionError(
            f"the backbone {name} has no class token to add (class_token={fusion}): leave class_token out"
        )
