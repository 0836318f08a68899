"""A sequence of layers that gives a feature map, and whose first layers can be frozen."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterable
from itertools import islice
from typing import TypeVar

from torch import nn

from gcp.errors import OptionError

SelfT = TypeVar("SelfT", bound="Freezable")


class Freezable(nn.Module):
    """A module whose first children may stay as they are while the rest is trained.

    Attributes:
        frozen: how many.
    """

    frozen = 0

    def stages(self) -> Iterable[nn.Module]:
        """What is counted, from the images on: the children."""
        return self.children()

    def freeze(self, count: int) -> None:
        """Stop training the first ``count`` children, their batch-norm statistics included.

        Raises OptionError if there are fewer.
        """
        total = sum(1 for _ in self.stages())
        if count > total:
            raise OptionError(f"frozen must be at most {total}, the number of the backbone's children, got {count}")
        self.frozen = count
        for stage in islice(self.stages(), count):
            stage.requires_grad_(False)
        self.train(self.training)

    def train(self: SelfT, mode: bool = True) -> SelfT:
        """As ``nn.Module.train``; what is frozen stays in eval mode."""
        super().train(mode)
        for stage in islice(self.stages(), self.frozen):
            stage.eval()
        return self


class FeatureMap(Freezable, nn.Sequential):
    """Layers in sequence, (B, 3, H, W) to (B, num_features, H', W').

    Attributes:
        num_features: channels of the feature map.
        original_names: the names the layers had in the network they were taken from, one per layer; empty if they
            were not, or kept them. Checkpoints of that network are read by them.
    """

    def __init__(
        self,
        layers: list[nn.Module] | OrderedDict[str, nn.Module],
        num_features: int,
        original_names: tuple[str, ...] = (),
    ) -> None:
        super().__init__(*layers) if isinstance(layers, list) else super().__init__(layers)
        self.num_features = num_features
        self.original_names = original_names
