"""Backbone, pooling and classifier in one network."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Literal

import torch
from torch import Tensor, nn

from gcp.backbones.factory import create_backbone
from gcp.backbones.registry import BACKBONES
from gcp.class_token import check_class_token
from gcp.classifier import before_last, last_layer, token_classifier, with_classes
from gcp.errors import OptionError, ShapeError
from gcp.features import check_floating
from gcp.hub.config_file import check_facts
from gcp.hub.remote import push
from gcp.hub.saving import save_folder
from gcp.methods import METHODS
from gcp.model_card import card
from gcp.network_config import NetworkConfig
from gcp.options import check_type, make_options
from gcp.plugins import size_of
from gcp.pooling.factory import channels_left, create_pooling


class PoolingNetwork(nn.Module):
    """Images to logits: (B, 3, H, W) to (B, num_classes).

    Attributes:
        features: the backbone.
        representation: channel reduction and pooling.
        classifier: from the pooled vector to the logits; with a ``class_token`` from that and the token.
        class_token: what becomes of the backbone's class token, "sum" or "concat"; None: nothing.
        config: what it was built from; None: not by `create_model`.
        facts: what is known of it, and is saved with it: "preprocessing", "data" and "metrics", each a dictionary.
    """

    config: NetworkConfig | None = None

    def __init__(
        self, features: nn.Module, representation: nn.Module, classifier: nn.Module, class_token: str | None = None
    ) -> None:
        super().__init__()
        self.features = features
        self.representation = representation
        self.classifier = classifier
        self.class_token = class_token
        self.facts: dict[str, Any] = {}

    def forward(self, images: Tensor) -> Tensor:
        """(B, 3, H, W) to logits (B, num_classes). Raises DtypeError or ShapeError for what is no batch of images."""
        return self.forward_head(self.forward_features(images))

    def forward_features(self, images: Tensor) -> Tensor | tuple[Tensor, Tensor]:
        """(B, 3, H, W) to the map (B, num_features, H', W'); with a ``class_token`` map and token, two tensors."""
        check_floating(images, "images")
        if images.dim() != 4:
            raise ShapeError(f"images must be (B, 3, H, W), got shape {tuple(images.shape)}")
        features: Tensor | tuple[Tensor, Tensor]
        if self.class_token is None:
            features = self.features(images)
        else:
            features = self.features.with_class_token(images)  # type: ignore[operator]  # checked when built
        return features

    def forward_head(self, features: Tensor | tuple[Tensor, Tensor], pre_logits: bool = False) -> Tensor:
        """What `forward_features` gave, to logits (B, num_classes).

        Args:
            features: the map; with a ``class_token`` the map and the token (B, num_features).
            pre_logits: stop before `get_classifier`, at (B, head_hidden_size): the pooled vector, or what a
                classifier's hidden layers make of it; with a ``class_token`` vector and token in one.
        """
        if isinstance(features, Tensor):
            vector: Tensor = self.representation(features)
        else:
            vector = torch.cat([self.representation(features[0]), features[1]], -1)
        logits: Tensor = before_last(self.classifier, vector) if pre_logits else self.classifier(vector)
        return logits

    def get_classifier(self) -> nn.Module:
        """The last layer, which gives the logits; `SummedLogits` if two do."""
        return last_layer(self.classifier)

    def reset_classifier(self, num_classes: int) -> None:
        """A new last layer, untrained; for 0 classes there is no last layer, and the network gives ``pre_logits``.

        Raises OptionError for less than 0 classes, or if the last layer is no linear one.
        """
        self.classifier = with_classes(self.classifier, num_classes)
        if self.config is not None:
            self.config = replace(self.config, num_classes=num_classes)

    def save_pretrained(self, directory: str | os.PathLike[str], facts: Mapping[str, Any] | None = None) -> None:
        """Write config.json, model.safetensors and a model card, which `gcp.from_pretrained` reads.

        Args:
            directory: the folder, made if there is none; files of these names in it are written over.
            facts: what is known of the network, see the attribute; None: the attribute.

        Raises:
            OptionError: a network that is no longer as it was built, or facts of another kind.
            MissingDependencyError: the extra hub is not installed.
        """
        check_type("directory", directory, str | os.PathLike)
        if self.config is None:
            raise OptionError(
                "only networks of gcp.create_model know what they are built from; save the state_dict of others"
            )
        if self.config.num_classes < 1:
            raise OptionError("the network has no classifier; give it one by reset_classifier, or save its state_dict")
        known = dict(self.facts if facts is None else facts)
        check_facts(known)
        parameters = sum(parameter.numel() for parameter in self.parameters())
        text = card(self.config, parameters, known)
        save_folder(self, self.config, outline(self.config), Path(directory), known, text)

    def push_to_hub(
        self,
        repository: str,
        facts: Mapping[str, Any] | None = None,
        private: bool | None = None,
        token: str | None = None,
        message: str = "Upload with gcp",
    ) -> str:
        """Save, and send the files to a repository of the Hugging Face Hub.

        Args:
            repository: "owner/name", made if there is none.
            facts: as in `save_pretrained`.
            private: whether a new repository is; None: as the owner's account has it.
            token: of the account; None: the one huggingface_hub knows.
            message: of the commit.

        Returns:
            the address of the commit.

        Raises:
            CheckpointError: the Hub is out of reach or refuses.
            OptionError, MissingDependencyError: as `save_pretrained`, or a name that no repository can have.
        """
        check_type("repository", repository, str)
        with TemporaryDirectory() as folder:
            self.save_pretrained(folder, facts)
            return push(Path(folder), repository, private, token, message)

    @property
    def num_features(self) -> int:
        """Channels of the backbone's map."""
        return size_of(self.features, "num_features", "backbone")

    @property
    def head_hidden_size(self) -> int:
        """Length of the vector that the last layer reads."""
        return size_of(self.get_classifier(), "in_features", "classifier")

    @property
    def num_classes(self) -> int:
        """How many logits; 0: there is no last layer."""
        return size_of(self.get_classifier(), "out_features", "classifier")


def create_model(
    backbone: str,
    method: str,
    num_classes: int,
    reduced_channels: int | Literal["default"] | None = "default",
    backbone_options: Mapping[str, Any] | None = None,
    hidden: Sequence[int] | None = None,
    class_token: str | None = None,
    **method_options: Any,
) -> PoolingNetwork:
    """A classification network with covariance pooling.

    Args:
        backbone: one of `list_backbones()`.
        method: one of `list_methods()`.
        num_classes: number of logits, at least 1.
        reduced_channels: channels a 1x1 convolution leaves before pooling, None for no reduction; "default" is 256 for
            covariance pooling and None for average pooling. A backbone with fewer channels is not reduced.
        backbone_options: the backbone's own, such as ``{"last_stride": 1}``.
        hidden: widths of the classifier's hidden layers, empty for a linear classifier; None for the backbone's own:
            4096 and 4096 for AlexNet and VGG without pretrained weights, else no hidden layers.
        class_token: of a backbone that has one: "sum" adds the logits that a linear classifier of its own makes of it,
            "concat" gives the classifier one vector of both; None: only the patches are pooled (arXiv 2104.10935).
        method_options: the method's own, such as ``degree=50``.

    Raises:
        UnknownNameError, OptionError, WeightsError: see `create_backbone` and `create_pooling`.

    >>> import torch
    >>> model = create_model("tiny", "pade", num_classes=5, backbone_options={"width": 8})
    >>> model(torch.rand(2, 3, 32, 32)).shape
    torch.Size([2, 5])
    """
    check_type("num_classes", num_classes, int)
    check_type("backbone_options", backbone_options, Mapping | None)
    check_type("hidden", list(hidden) if isinstance(hidden, Sequence) else hidden, list[int] | None)
    if num_classes < 1:
        raise OptionError(f"num_classes must be at least 1, got {num_classes}")
    METHODS.get(method)  # an unknown method is refused before weights are read
    info = BACKBONES.get(backbone)
    features = create_backbone(backbone, **(backbone_options or {}))
    check_class_token(class_token, getattr(features, "has_class_token", False), getattr(features, "name", backbone))
    if hidden is None:
        hidden = info.default_hidden((backbone_options or {}).get("weights"))
    channels = size_of(features, "num_features")
    reduced = channels_left(method, channels, reduced_channels)
    representation = create_pooling(method, channels, reduced, **method_options)
    widths = [size_of(representation, "out_features"), *hidden, num_classes]
    classifier = token_classifier(widths, channels, class_token, info.dropout)
    model = PoolingNetwork(features, representation, classifier, class_token)
    own = {name: value for name, value in (backbone_options or {}).items() if name != "weights"}
    model.config = NetworkConfig(
        backbone, method, num_classes, reduced, list(hidden), class_token, own, dict(method_options)
    )
    return model


def build(network: NetworkConfig) -> PoolingNetwork:
    """The network with random weights. Raises as `create_model`."""
    method_options = dict(network.method_options)
    make_options(METHODS.get(network.method).options, method_options, f"method '{network.method}'")
    return create_model(
        network.backbone,
        network.method,
        network.num_classes,
        network.reduced_channels,
        network.backbone_options,
        network.hidden,
        network.class_token,
        **method_options,
    )


def outline(network: NetworkConfig) -> PoolingNetwork:
    """The network without memory, on the meta device: names and shapes."""
    with torch.device("meta"):
        return build(network)
