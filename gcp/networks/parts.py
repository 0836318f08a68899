"""What is put into a network: pooling in the place of a layer, or a whole head, and the account of it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, TypeVar

import torch
from torch import Tensor, nn

from gcp.class_token import check_class_token
from gcp.classifier import before_last, last_layer, token_classifier, with_classes
from gcp.errors import OptionError, few
from gcp.plugins import size_of
from gcp.pooling.factory import channels_left, create_pooling


@dataclass(frozen=True)
class Asked:
    """The arguments of `gcp.replace_pooling`, and what is made of them."""

    method: str
    num_classes: int | None
    reduced_channels: int | str | None
    class_token: str | None
    options: Mapping[str, Any]

    def pooling(self, channels: int) -> nn.Module:
        """Channel reduction and pooling."""
        reduced = channels_left(self.method, channels, self.reduced_channels)
        return create_pooling(self.method, channels, reduced, **self.options)

    def classes(self, before: int) -> int:
        """How many logits. Raises OptionError if neither the network nor the arguments say."""
        classes = before if self.num_classes is None else self.num_classes
        if classes < 1:
            raise OptionError("the network has no classifier that says how many classes there are; give num_classes")
        return classes

    def head(self, channels: int, classes: int, drop: float, has_token: bool, network: str) -> PoolingHead:
        """Pooling, dropout and classifier. Raises OptionError for a class token that the network does not have."""
        check_class_token(self.class_token, has_token, network)
        pooling = self.pooling(channels)
        width = size_of(pooling, "out_features")
        classifier = token_classifier([width, self.classes(classes)], channels, self.class_token)
        return PoolingHead(pooling, drop, classifier, self.class_token)


@dataclass(frozen=True)
class ReplacedPooling:
    """What `gcp.replace_pooling` did; as a string it says so.

    Attributes:
        network: the network's class.
        method: how it pools now.
        pooling: name of the module that pools, as in ``model.get_submodule``.
        classifier: name of the linear layer, or layers, that gives the logits.
        channels: how many are pooled, before they are reduced.
        out_features: length of the pooled vector.
        num_classes: how many logits.
        new: names of modules with new, untrained weights.
        removed: names of modules that are gone, with their weights.
        moved: names of norms of the pooled vector, which are norms of each position now, before pooling.
    """

    network: str
    method: str
    pooling: str
    classifier: str
    channels: int
    out_features: int
    num_classes: int
    new: tuple[str, ...]
    removed: tuple[str, ...] = ()
    moved: tuple[str, ...] = ()

    def __str__(self) -> str:
        more = [
            f"{what} {few(names)}"
            for what, names in (("new", self.new), ("removed", self.removed), ("now before pooling", self.moved))
            if names
        ]
        return (
            f"{self.network}: '{self.pooling}' pools {self.channels} channels by {self.method} into "
            f"{self.out_features:,} numbers, '{self.classifier}' makes {self.num_classes} logits of them "
            f"({'; '.join(more)})"
        )


class MapPooling(nn.Module):
    """In the place of a global pooling layer: (B, C, H, W) to one position, (B, out_features, 1, 1); clips likewise.

    Attributes:
        norm: of each position, before pooling.
        pooling: channel reduction and pooling.
    """

    def __init__(self, norm: nn.Module, pooling: nn.Module) -> None:
        super().__init__()
        self.norm = norm
        self.pooling = pooling

    def forward(self, features: Tensor) -> Tensor:
        """(B, C, ...) to (B, out_features, ...), of size 1 in each of the positions' dimensions."""
        vector: Tensor = self.pooling(self.norm(features))
        return vector.reshape(*vector.shape, *[1] * (features.dim() - 2))


class PositionNorm(nn.Module):
    """A norm of vectors (B, C), at each position of a map (B, C, H, W)."""

    def __init__(self, norm: nn.Module) -> None:
        super().__init__()
        self.norm = norm

    def forward(self, features: Tensor) -> Tensor:
        """(B, C, H, W) to the same."""
        normed: Tensor = self.norm(features.movedim(1, -1)).movedim(-1, 1)
        return normed


def position_norm(norm: nn.Module) -> nn.Module:
    """The layer norm of a pooled vector as one of each position; the LayerNorm2d of torchvision and timm is that."""
    return norm if type(norm).__name__.endswith("2d") else PositionNorm(norm)


class PoolingHead(nn.Module):
    """Pooling, dropout and classifier.

    Attributes:
        norm: of each position, before pooling.
        representation: channel reduction and pooling.
        drop: dropout of what the classifier reads.
        fc: from the vector to the logits; with a ``class_token`` from vector and token in one.
        class_token: "sum", "concat" or None, as in `gcp.create_model`.
    """

    def __init__(
        self, representation: nn.Module, drop: float, classifier: nn.Module, class_token: str | None = None
    ) -> None:
        super().__init__()
        self.norm: nn.Module = nn.Identity()
        self.representation = representation
        self.drop = nn.Dropout(drop)
        self.fc = classifier
        self.class_token = class_token

    def forward(self, features: Tensor, token: Tensor | None, pre_logits: bool = False) -> Tensor:
        """(B, C, ...) and, if there is one, a class token (B, C) to logits; or to what the last layer reads."""
        vector: Tensor = self.representation(self.norm(features))
        if self.class_token is not None:
            assert token is not None
            vector = torch.cat([vector, token], -1)
        vector = self.drop(vector)
        logits: Tensor = before_last(self.fc, vector) if pre_logits else self.fc(vector)
        return logits

    def get_classifier(self) -> nn.Module:
        """The last layer."""
        return last_layer(self.fc)

    def reset_classifier(self, num_classes: int) -> None:
        """A new last layer; of 0 classes: none."""
        self.fc = with_classes(self.fc, num_classes)


ModuleT = TypeVar("ModuleT", bound=nn.Module)


def like(weight: Tensor, training: bool, module: ModuleT) -> ModuleT:
    """``module`` on the device and in the dtype of ``weight``, in the mode of the network it comes into."""
    return module.to(weight.device, weight.dtype).train(training)
