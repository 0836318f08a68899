"""Networks whose head is replaced, pooling and all: they get a `PoolingHead`, and a class that calls it.

The class is the network's own with some methods changed, as torch's ``fully_shard`` does it: attributes, names of
weights and ``isinstance`` stay. The methods are those of timm's networks.
"""

from __future__ import annotations

from typing import Any

from torch import Tensor, nn

from gcp.backbones.tokens import split_output
from gcp.errors import OptionError
from gcp.networks.parts import PoolingHead, ReplacedPooling
from gcp.plugins import size_of


class HeadForward:
    """timm's part of a network's methods, by its `PoolingHead`; mixed into the network's class."""

    pooling_head: str  # name of the child
    network_class: type[nn.Module]  # the class before
    mixin: type[HeadForward]

    def forward_head(self, x: Tensor, pre_logits: bool = False) -> Tensor:
        """What ``forward_features`` gave to logits, or with ``pre_logits`` to what the last layer reads."""
        logits: Tensor = self._head(*split_output(self, x), pre_logits)
        return logits

    def get_classifier(self) -> nn.Module:
        """The last layer."""
        return self._head.get_classifier()

    def reset_classifier(self, num_classes: int, global_pool: str | None = None) -> None:
        """A new last layer; of 0 classes: none. Raises OptionError for another pooling than this."""
        if global_pool is not None:
            raise OptionError(f"global_pool must be None, got {global_pool!r}: gcp.replace_pooling chose the pooling")
        self._head.reset_classifier(num_classes)
        self.num_classes = num_classes

    @property
    def _head(self) -> PoolingHead:
        head = getattr(self, self.pooling_head)
        assert isinstance(head, PoolingHead)
        return head

    def __reduce_ex__(self, protocol: Any) -> tuple[Any, ...]:
        return _empty, (self.network_class, self.mixin), self.__dict__


_CLASSES: dict[tuple[type[nn.Module], type[HeadForward]], type[nn.Module]] = {}


def class_with_head(network_class: type[nn.Module], mixin: type[HeadForward]) -> type[nn.Module]:
    """The class of a network with a `PoolingHead`, made once."""
    key = (network_class, mixin)
    if key not in _CLASSES:
        name = f"{network_class.__name__}WithPoolingHead"
        members = {"network_class": network_class, "mixin": mixin, "__module__": __name__}
        _CLASSES[key] = type(name, (mixin, network_class), members)
    return _CLASSES[key]


def _empty(network_class: type[nn.Module], mixin: type[HeadForward]) -> nn.Module:
    """An instance for ``pickle`` and ``copy`` to fill."""
    made = class_with_head(network_class, mixin)
    return made.__new__(made)


def give_head(
    model: Any,
    name: str,
    head: PoolingHead,
    mixin: type[HeadForward],
    method: str,
    channels: int,
    removed: tuple[str, ...] = (),
    moved: tuple[str, ...] = (),
) -> ReplacedPooling:
    """Make ``head`` the child ``name`` of the network, and what its methods call."""
    before = type(model).__name__
    setattr(model, name, head)
    model.pooling_head = name
    model.__class__ = class_with_head(type(model), mixin)
    model.num_classes = size_of(head.get_classifier(), "out_features")
    model.head_hidden_size = size_of(head.get_classifier(), "in_features")
    width = size_of(head.representation, "out_features")
    return ReplacedPooling(
        before,
        method,
        f"{name}.representation",
        f"{name}.fc",
        channels,
        width,
        model.num_classes,
        (name,),
        removed,
        moved,
    )
