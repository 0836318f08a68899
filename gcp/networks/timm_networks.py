"""timm's networks: whatever comes behind ``forward_features`` is replaced."""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from gcp.backbones.tokens import split_output
from gcp.errors import OptionError, first_line
from gcp.networks.heads import HeadForward, give_head
from gcp.networks.parts import Asked, ReplacedPooling, like, position_norm

METHODS = ("forward_features", "forward_head", "get_classifier", "reset_classifier")
# Children that can come behind forward_features; in some networks it calls one of them itself.
HEADS = ("global_pool", "attn_pool", "fc_norm", "norm_head", "conv_head", "act2", "pre_logits", "head_drop",
         "head_dist", "head", "fc", "classifier")  # fmt: skip
NORMS = ("fc_norm", "head.norm")
IMAGE = (3, 224, 224)


def is_timm(model: nn.Module) -> bool:
    """Whether the network's class has the methods of timm's."""
    return all(hasattr(type(model), each) for each in METHODS)


def replace_timm(model: Any, asked: Asked) -> ReplacedPooling:
    """Give the network a head in the place of its own; one image goes through ``forward_features`` to see its shape.

    Raises OptionError if that is neither a map nor tokens, or something is asked for that the network does not have.
    """
    name = type(model).__name__
    output, called = _trial(model)
    if not isinstance(output, Tensor) or output.dim() not in (3, 4):
        gives = tuple(output.shape) if isinstance(output, Tensor) else type(output).__name__
        raise OptionError(f"the pooling of {name} cannot be replaced: its forward_features gives {gives}, no map")
    features, token = split_output(model, output)
    positions = features[0, 0].numel()
    if positions < 2:
        raise OptionError(f"the pooling of {name} cannot be replaced: its map {tuple(features.shape)} is one position")
    if features.dim() == 3 and math.isqrt(positions) ** 2 != positions:
        raise OptionError(
            f"the pooling of {name} cannot be replaced: of the {output.shape[1]} tokens of a square image "
            f"{positions} are left without class and register tokens, which is no square"
        )
    wanted = (getattr(model, "pretrained_cfg", None) or {}).get("classifier") or "head"
    child = (wanted if isinstance(wanted, str) else wanted[0]).partition(".")[0]
    channels = features.shape[1]
    drop = float(getattr(model, "drop_rate", 0.0))
    head = asked.head(channels, int(model.num_classes), drop, token is not None, name)
    weight = next(model.parameters())
    head = like(weight, model.training, head)

    behind = [each for each, _ in model.named_children() if each in HEADS and each not in called]
    norm = next((each for each in NORMS if each.partition(".")[0] in behind and _is_norm(model, each, channels)), None)
    if norm is not None:
        head.norm = position_norm(model.get_submodule(norm))
    removed = tuple(
        each for each in behind if each not in (child, norm) and any(True for _ in getattr(model, each).parameters())
    )
    for each in behind:
        setattr(model, each, nn.Identity())
    moved = () if norm is None else (norm,)
    return give_head(model, child, head, HeadForward, asked.method, channels, removed, moved)


def _is_norm(model: nn.Module, name: str, channels: int) -> bool:
    """Whether the network has a layer norm of the pooled vector of that name."""
    try:
        layer = model.get_submodule(name)
    except AttributeError:
        return False
    return isinstance(layer, nn.LayerNorm) and tuple(layer.normalized_shape) == (channels,)


@torch.no_grad()
def _trial(model: Any) -> tuple[object, set[str]]:
    """What ``forward_features`` gives for one image, and which of HEADS it calls."""
    called: set[str] = set()
    hooks = [
        module.register_forward_pre_hook(lambda *_, child=child: called.add(child))
        for child, part in model.named_children()
        if child in HEADS
        for module in part.modules()
    ]
    size = (getattr(model, "pretrained_cfg", None) or {}).get("input_size") or IMAGE
    try:
        with _evaluated(model):
            return model.forward_features(next(model.parameters()).new_zeros(1, *size)), called
    except (RuntimeError, AssertionError, ValueError, TypeError) as error:
        raise OptionError(
            f"the pooling of {type(model).__name__} cannot be replaced: an image of {size} does not go through its "
            f"forward_features ({first_line(error)})"
        ) from None
    finally:
        for hook in hooks:
            hook.remove()


@contextmanager
def _evaluated(model: nn.Module) -> Iterator[None]:
    """In evaluation mode for a while; each module is in the mode it was in afterwards."""
    modes = [(module, module.training) for module in model.modules()]
    model.eval()
    try:
        yield
    finally:
        for module, mode in modes:
            module.training = mode
