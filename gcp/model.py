"""Backbone, pooling and classifier in one network."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from typing import Any, Literal

from torch import Tensor, nn

from gcp.backbones.factory import create_backbone
from gcp.backbones.registry import BACKBONES
from gcp.class_token import JointClassifier, SummedLogits, check_class_token
from gcp.errors import OptionError, ShapeError
from gcp.features import check_floating
from gcp.methods import METHODS
from gcp.options import check_type
from gcp.plugins import size_of
from gcp.pooling.factory import create_pooling


class PoolingNetwork(nn.Module):
    """Images to logits: (B, 3, H, W) to (B, num_classes).

    Attributes:
        features: the backbone.
        representation: channel reduction and pooling.
        classifier: from the pooled vector to the logits; with a ``class_token`` from that and the token.
        class_token: what becomes of the backbone's class token, "sum" or "concat"; None: nothing.
    """

    def __init__(
        self, features: nn.Module, representation: nn.Module, classifier: nn.Module, class_token: str | None = None
    ) -> None:
        super().__init__()
        self.features = features
        self.representation = representation
        self.classifier = classifier
        self.class_token = class_token

    def forward(self, images: Tensor) -> Tensor:
        """(B, 3, H, W) to logits (B, num_classes). Raises DtypeError or ShapeError for what is no batch of images."""
        check_floating(images, "images")
        if images.dim() != 4:
            raise ShapeError(f"images must be (B, 3, H, W), got shape {tuple(images.shape)}")
        logits: Tensor
        if self.class_token is None:
            logits = self.classifier(self.representation(self.features(images)))
        else:
            features, token = self.features.with_class_token(images)  # type: ignore[operator]  # checked when built
            logits = self.classifier(self.representation(features), token)
        return logits


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
    if reduced_channels != "default":
        check_type("reduced_channels", reduced_channels, int | None)
    check_type("backbone_options", backbone_options, Mapping | None)
    check_type("hidden", list(hidden) if isinstance(hidden, Sequence) else hidden, list[int] | None)
    if num_classes < 1:
        raise OptionError(f"num_classes must be at least 1, got {num_classes}")
    default = METHODS.get(method).reduced_channels  # an unknown method is refused before weights are read
    info = BACKBONES.get(backbone)
    features = create_backbone(backbone, **(backbone_options or {}))
    check_class_token(class_token, features, backbone)
    if hidden is None:
        hidden = info.default_hidden((backbone_options or {}).get("weights"))
    channels = size_of(features, "num_features")
    if reduced_channels == "default":
        reduced_channels = default
    if reduced_channels is not None and reduced_channels > channels:
        reduced_channels = None
    representation = create_pooling(method, channels, reduced_channels, **method_options)
    width = size_of(representation, "out_features") + (channels if class_token == "concat" else 0)
    classifier = build_classifier([width, *hidden, num_classes], info.dropout)
    if class_token == "sum":
        classifier = SummedLogits(classifier, nn.Linear(channels, num_classes))
    elif class_token == "concat":
        classifier = JointClassifier(classifier)
    return PoolingNetwork(features, representation, classifier, class_token)


def build_classifier(widths: Sequence[int], dropout: float | None = None) -> nn.Module:
    """From the pooled vector to the logits: (B, widths[0]) to (B, widths[-1]).

    One linear layer for two widths; otherwise linear layers with ReLU, and ``dropout`` if given, between them. The
    positions in the sequence are those of AlexNet and VGG in the reference: 0, 2, 4 and with dropout 0, 3, 6.

    Raises OptionError for a width below 1.

    >>> build_classifier([6, 4, 2])
    Sequential(
      (0): Linear(in_features=6, out_features=4, bias=True)
      (1): ReLU(inplace=True)
      (2): Linear(in_features=4, out_features=2, bias=True)
    )
    """
    if min(widths) < 1:
        raise OptionError(f"hidden widths must be at least 1, got {list(widths[1:-1])}")
    *body, last = [nn.Linear(before, after) for before, after in itertools.pairwise(widths)]
    if not body:
        return last
    layers: list[nn.Module] = []
    for linear in body:
        layers += [linear, nn.ReLU(inplace=True), *([] if dropout is None else [nn.Dropout(dropout)])]
    return nn.Sequential(*layers, last)
