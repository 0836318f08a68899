"""torchvision's networks that pool in their ``forward``, where there is no layer to replace."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from gcp.networks.heads import HeadForward, give_head
from gcp.networks.parts import Asked, ReplacedPooling, like


class KnownForward(HeadForward):
    """The same for networks of torchvision, whose ``forward`` is taken in two."""

    def forward_features(self, x: Tensor) -> Tensor:
        """(B, 3, H, W) to the feature map, or the tokens."""
        return KNOWN[known_class(self.network_class)][1](self, x)

    def forward(self, x: Tensor) -> Tensor:
        """(B, 3, H, W) to logits."""
        return self.forward_head(self.forward_features(x))


def _tokens(network: Any, images: Tensor) -> Tensor:
    patches = network._process_input(images)
    token = network.class_token.expand(patches.shape[0], -1, -1)
    tokens: Tensor = network.encoder(torch.cat([token, patches], 1))
    return tokens


def _shuffled(network: Any, images: Tensor) -> Tensor:
    for name in ("conv1", "maxpool", "stage2", "stage3", "stage4", "conv5"):
        images = getattr(network, name)(images)
    return images


# torchvision's networks that pool in forward: the child that classifies, and what comes before the pooling.
KNOWN: dict[str, tuple[str, Callable[[Any, Tensor], Tensor]]] = {
    "DenseNet": ("classifier", lambda network, images: F.relu(network.features(images), inplace=True)),
    "MNASNet": ("classifier", lambda network, images: network.layers(images)),
    "MobileNetV2": ("classifier", lambda network, images: network.features(images)),
    "ShuffleNetV2": ("fc", _shuffled),
    "VisionTransformer": ("heads", _tokens),
}


def known_class(network_class: Any) -> str:
    """The class of KNOWN whose ``forward`` this one has; "" if it is none of them."""
    for each in network_class.__mro__:
        if each.__module__.startswith("torchvision.models.") and each.__name__ in KNOWN:
            return each.__name__ if each.forward is network_class.forward else ""
    return ""


def replace_known(model: Any, asked: Asked) -> ReplacedPooling:
    """Give one of them a head in the place of its classifier. Raises OptionError for a class token it does not have."""
    name = KNOWN[known_class(type(model))][0]
    before = dict(model.named_children())[name]
    linear = [each for each in before.modules() if isinstance(each, nn.Linear)]
    drop = next((each.p for each in before.modules() if isinstance(each, nn.Dropout)), 0.0)
    tokens = hasattr(model, "class_token")
    channels = linear[0].in_features
    head = asked.head(channels, linear[-1].out_features, drop, tokens, type(model).__name__)
    return give_head(model, name, like(linear[0].weight, model.training, head), KnownForward, asked.method, channels)
