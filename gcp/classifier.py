"""From the pooled vector to the logits: the layers, and the last of them made anew for other classes."""

from __future__ import annotations

import itertools
from collections.abc import Sequence

from torch import Tensor, nn

from gcp.class_token import JointClassifier, SummedLogits
from gcp.errors import OptionError
from gcp.options import check_type


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


def token_classifier(
    widths: Sequence[int], num_features: int, class_token: str | None, dropout: float | None = None
) -> nn.Module:
    """`build_classifier` for a pooled vector of ``widths[0]`` numbers, and the class token beside it as asked for.

    >>> token_classifier([10, 5], 4, "concat")
    JointClassifier(
      (joint): Linear(in_features=14, out_features=5, bias=True)
    )
    """
    if class_token == "concat":
        return JointClassifier(build_classifier([widths[0] + num_features, *widths[1:]], dropout))
    classifier = build_classifier(widths, dropout)
    if class_token is None:
        return classifier
    return SummedLogits(classifier, nn.Linear(num_features, widths[-1]), widths[0], num_features)


class NoClasses(nn.Identity):
    """In the place of a linear layer on ``in_features`` numbers: they are what comes out.

    Attributes:
        weight: (0, in_features), nothing but the device and dtype of the next classifier.
    """

    weight: Tensor

    def __init__(self, in_features: int, like: Tensor) -> None:
        super().__init__()
        self.in_features = in_features
        self.out_features = 0
        self.register_buffer("weight", like.new_empty(0, in_features), persistent=False)


def last_layer(classifier: nn.Module) -> nn.Module:
    """The layer that gives the logits.

    >>> last_layer(build_classifier([6, 4, 2]))
    Linear(in_features=4, out_features=2, bias=True)
    """
    if isinstance(classifier, JointClassifier):
        return last_layer(classifier.joint)
    return last_layer(classifier[-1]) if isinstance(classifier, nn.Sequential) else classifier


def before_last(classifier: nn.Module, vector: Tensor) -> Tensor:
    """What `last_layer` reads, for what ``classifier`` reads."""
    if isinstance(classifier, JointClassifier):
        return before_last(classifier.joint, vector)
    if not isinstance(classifier, nn.Sequential):
        return vector
    for layer in classifier[:-1]:
        vector = layer(vector)
    return before_last(classifier[-1], vector)


def with_classes(classifier: nn.Module, num_classes: int) -> nn.Module:
    """``classifier`` with a new last layer, untrained, of the same device, dtype and mode; of 0 classes with none.

    Raises OptionError if its last layer is no linear one, or for less than 0 classes.

    >>> with_classes(build_classifier([6, 4, 2]), 3)[-1]
    Linear(in_features=4, out_features=3, bias=True)
    """
    check_type("num_classes", num_classes, int)
    if num_classes < 0:
        raise OptionError(f"num_classes must be at least 0, got {num_classes}")
    if isinstance(classifier, JointClassifier):
        classifier.joint = with_classes(classifier.joint, num_classes)
    elif isinstance(classifier, SummedLogits):
        classifier.pooled = with_classes(classifier.pooled, num_classes)
        classifier.token = with_classes(classifier.token, num_classes)
    elif isinstance(classifier, nn.Sequential):
        classifier[-1] = with_classes(classifier[-1], num_classes)
    else:
        return _renewed(classifier, num_classes)
    return classifier


def _renewed(last: nn.Module, num_classes: int) -> nn.Module:
    if not isinstance(last, (nn.Linear, NoClasses)):
        raise OptionError(f"the classifier ends with {type(last).__name__}, no linear layer; set the attribute itself")
    if num_classes == 0:
        return NoClasses(last.in_features, last.weight).train(last.training)
    bias = not isinstance(last, nn.Linear) or last.bias is not None
    new = nn.Linear(last.in_features, num_classes, bias, last.weight.device, last.weight.dtype)
    return new.train(last.training)
