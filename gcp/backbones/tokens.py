"""What networks of timm and torchvision give before their head: maps, or tokens, those of patches behind others."""

from __future__ import annotations

from typing import Any

from torch import Tensor

CLASS_TOKENS = ("cls_token", "class_token")


def prefix_tokens(network: Any) -> int:
    """How many tokens of a network of timm or torchvision come before those of the patches."""
    return int(getattr(network, "num_prefix_tokens", int(_class_token(network))))


def has_class_token(network: Any) -> bool:
    """Whether the first of them is a class token: ViT and DeiT have one, Swin does not."""
    return prefix_tokens(network) > 0 and _class_token(network)


def _class_token(network: Any) -> bool:
    return any(getattr(network, name, None) is not None for name in CLASS_TOKENS)


def split_output(network: Any, output: Tensor) -> tuple[Tensor, Tensor | None]:
    """What a network gives before its head, as (B, C, ...), and its class token (B, C) if it has one.

    Maps are turned round if their channels are last; of tokens (B, N, C) class and register tokens are taken out.
    """
    if getattr(network, "output_fmt", "") == "NHWC":
        return output.movedim(-1, 1), None
    if output.dim() != 3:
        return output, None
    return output[:, prefix_tokens(network) :].mT, output[:, 0] if has_class_token(network) else None
