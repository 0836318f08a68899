"""Pretrained weights from torchvision."""

from __future__ import annotations

import os
from typing import Any
from urllib.error import URLError

import torch
from torch import nn

from gcp.errors import WeightsError
from gcp.registry import nearest


def load_torchvision_weights(network: nn.Module, architecture: str, name: str) -> None:
    """Load torchvision's pretrained weights of that name into one of its networks.

    Args:
        network: what ``torchvision.models.get_model(architecture)`` gives.
        architecture: torchvision's name, "resnet50".
        name: of its weights, "IMAGENET1K_V2" or "DEFAULT".

    Raises:
        WeightsError: no weights of that name, or they are neither on disk nor to be had.
    """
    weights = _find(architecture, name)
    try:
        network.load_state_dict(weights.get_state_dict(progress=True, check_hash=True))
    except (URLError, OSError, RuntimeError) as error:
        folder = os.path.join(torch.hub.get_dir(), "checkpoints")
        raise WeightsError(
            f"could not fetch the weights {name} of {architecture} ({error}); without network, put the file "
            f"{os.path.basename(weights.url)} from {weights.url} into {folder}, or use weights=null"
        ) from error


def _find(architecture: str, name: str) -> Any:
    from torchvision.models import get_model_weights

    known = get_model_weights(architecture)
    names = [*known.__members__, "DEFAULT"]
    if name not in names:
        raise WeightsError(
            f"{architecture} has no weights '{name}'{nearest(name, names)}; torchvision has {', '.join(names)}"
        )
    return known[name]
