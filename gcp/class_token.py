"""What becomes of a transformer's class token: its logits beside those of the pooled patches, or one vector of both."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from gcp.errors import OptionError
from gcp.registry import nearest

FUSIONS = ("sum", "concat")


class SummedLogits(nn.Module):
    """Logits of the pooled patches plus logits of the class token, each by its own classifier (arXiv 2104.10935)."""

    def __init__(self, pooled: nn.Module, token: nn.Module) -> None:
        super().__init__()
        self.pooled = pooled
        self.token = token

    def forward(self, pooled: Tensor, token: Tensor) -> Tensor:
        """(B, out_features) and (B, num_features) to (B, num_classes)."""
        logits: Tensor = self.pooled(pooled) + self.token(token)
        return logits


class JointClassifier(nn.Module):
    """Logits of pooled patches and class token as one vector, the patches first."""

    def __init__(self, joint: nn.Module) -> None:
        super().__init__()
        self.joint = joint

    def forward(self, pooled: Tensor, token: Tensor) -> Tensor:
        """(B, out_features) and (B, num_features) to (B, num_classes)."""
        logits: Tensor = self.joint(torch.cat([pooled, token], -1))
        return logits


def check_class_token(fusion: str | None, backbone: nn.Module, name: str) -> None:
    """Raise OptionError unless ``fusion`` is None, or one of FUSIONS and ``backbone``, called ``name``, has the token.

    >>> check_class_token("sum", nn.Identity(), "tiny")
    Traceback (most recent call last):
    gcp.errors.OptionError: the backbone tiny has no class token to add (class_token=sum): leave class_token at null
    """
    if fusion is None:
        return
    if fusion not in FUSIONS:
        raise OptionError(f"class_token must be null or one of {', '.join(FUSIONS)}, got {fusion!r}"
                          f"{nearest(str(fusion), FUSIONS)}")  # fmt: skip
    if not getattr(backbone, "has_class_token", False):
        raise OptionError(
            f"the backbone {getattr(backbone, 'name', name)} has no class token to add (class_token={fusion}): leave "
            "class_token at null"
        )
