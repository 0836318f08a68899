"""What a transformer's tokens are: those of patches, and before them class and register tokens."""

from __future__ import annotations

from typing import Any

CLASS_TOKENS = ("cls_token", "class_token")


def prefix_tokens(network: Any) -> int:
    """How many tokens of a network of timm or torchvision come before those of the patches."""
    return int(getattr(network, "num_prefix_tokens", int(_class_token(network))))


def has_class_token(network: Any) -> bool:
    """Whether the first of them is a class token: ViT and DeiT have one, Swin does not."""
    return prefix_tokens(network) > 0 and _class_token(network)


def _class_token(network: Any) -> bool:
    return any(getattr(network, name, None) is not None for name in CLASS_TOKENS)
