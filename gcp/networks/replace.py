"""Covariance pooling in the place of a network's own, in networks that have been built."""

from __future__ import annotations

from typing import Any

from torch import nn

from gcp.errors import OptionError, OptionTypeError
from gcp.methods import METHODS
from gcp.networks.heads import HeadForward
from gcp.networks.layers import replace_layers
from gcp.networks.parts import Asked, ReplacedPooling
from gcp.networks.timm_networks import is_timm, replace_timm
from gcp.networks.torchvision_networks import known_class, replace_known
from gcp.options import check_type


def replace_pooling(
    model: nn.Module,
    method: str,
    num_classes: int | None = None,
    *,
    reduced_channels: int | str | None = "default",
    class_token: str | None = None,
    **method_options: Any,
) -> ReplacedPooling:
    """Put covariance pooling, and a classifier for its vector, in the place of a network's own, in the network itself.

    For torchvision's and timm's networks, and others whose last layers are a global pooling and linear layers. All
    weights up to the pooling stay, under their names; a layer norm of the pooled vector becomes one of each position.
    Networks of timm keep ``forward_features``, ``forward_head``, ``get_classifier`` and ``reset_classifier``.

    Args:
        model: the network.
        method: one of `list_methods()`.
        num_classes: number of logits; None: as many as before.
        reduced_channels: as in `gcp.create_model`.
        class_token: of a transformer that has one, as in `gcp.create_model`; None: only the patches are pooled.
        method_options: the method's own, such as ``degree=50``.

    Returns:
        what was done: printed, a sentence.

    Raises:
        OptionTypeError: not a module, or arguments of a wrong type.
        OptionError: no pooling or no classifier is found, a network with auxiliary classifiers, a class_token of a
            network without, or a wrong option. The network is as before.
        UnknownNameError: no such method.

    >>> import torch
    >>> model = nn.Sequential(nn.Conv2d(3, 8, 3), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(8, 10))
    >>> print(replace_pooling(model, "pade", num_classes=5))
    Sequential: '1' pools 8 channels by pade into 36 numbers, '3' makes 5 logits of them (new 1, 3)
    >>> model(torch.rand(2, 3, 9, 9)).shape
    torch.Size([2, 5])
    """
    if not isinstance(model, nn.Module):
        raise OptionTypeError(f"model must be an nn.Module, got {type(model).__name__}")
    check_type("num_classes", num_classes, int | None)
    if num_classes is not None and num_classes < 1:
        raise OptionError(f"num_classes must be at least 1, got {num_classes}")
    METHODS.get(method)
    if isinstance(model, HeadForward):
        raise OptionError(f"the pooling of this {model.network_class.__name__} has been replaced already")
    asked = Asked(method, num_classes, reduced_channels, class_token, method_options)
    if is_timm(model):
        return replace_timm(model, asked)
    if known_class(type(model)):
        return replace_known(model, asked)
    return replace_layers(model, asked)
