"""Networks of torchvision: built by name, and cut to their feature map."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

from torch import nn

from gcp.backbones.feature_map import FeatureMap
from gcp.errors import MissingDependencyError


def build_network(name: str, **arguments: Any) -> Any:
    """torchvision's network of that name with random weights. Raises MissingDependencyError without torchvision."""
    try:
        from torchvision import models
    except ImportError as error:
        raise MissingDependencyError(f"the backbone {name} needs torchvision: pip install torchvision") from error
    return models.get_model(name, weights=None, **arguments)


def without_head(network: nn.Module, head: Collection[str], num_features: int) -> FeatureMap:
    """The children of ``network`` in sequence, but for those named in ``head``."""
    body = {name: child for name, child in network.named_children() if name not in head}
    return FeatureMap(list(body.values()), num_features, original_names=tuple(body))
