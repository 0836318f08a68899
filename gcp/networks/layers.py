"""Networks whose pooling is a layer, with nothing but a classifier behind it: both are replaced where they stand."""

from __future__ import annotations

import math
from dataclasses import dataclass

from torch import nn

from gcp.class_token import check_class_token
from gcp.errors import OptionError
from gcp.networks.parts import Asked, MapPooling, ReplacedPooling, like, position_norm
from gcp.plugins import size_of

POOLINGS = (
    nn.AdaptiveAvgPool1d,
    nn.AdaptiveAvgPool2d,
    nn.AdaptiveAvgPool3d,
    nn.AdaptiveMaxPool1d,
    nn.AdaptiveMaxPool2d,
    nn.AdaptiveMaxPool3d,
)


@dataclass(frozen=True)
class Found:
    """A pooling layer and the classifier behind it.

    Attributes:
        pooling: the layer's name.
        channels: that it pools.
        norm: name of the norm of the pooled vector, if there is one.
        first: name of the linear layer that reads the vector.
        last: name of the one that gives the logits; often the same.
    """

    pooling: str
    channels: int
    norm: str | None
    first: str
    last: str


def find_layers(model: nn.Module) -> Found | str:
    """The last global pooling layer of a network with the classifier behind it; or why there are none, in words.

    Layers are in the order of registration. Behind the pooling there may be linear layers, a layer norm before the
    first of them, and what has no weights: dropout, activations, a flattening.
    """
    leaves = [(name, module) for name, module in model.named_modules() if next(module.children(), None) is None]
    places = [place for place, (_, module) in enumerate(leaves) if isinstance(module, POOLINGS)]
    if not places:
        return "it has no adaptive pooling layer; it may pool in its forward"
    name, pooling = leaves[places[-1]]
    behind = [(each, module) for each, module in leaves[places[-1] + 1 :] if _has_weights(module)]
    linear = [each for each, module in behind if isinstance(module, nn.Linear)]
    if not linear:
        return f"no linear layer follows its last pooling layer '{name}', so there is no pooled vector to classify"
    before = [each for each, _ in behind].index(linear[0])
    norms = [each for each, module in behind[:before] if isinstance(module, nn.LayerNorm)]
    strange = [
        (each, type(module).__name__)
        for place, (each, module) in enumerate(behind)
        if not (isinstance(module, nn.Linear) or (isinstance(module, nn.LayerNorm) and place > before))
        and each not in norms[:1]
    ]
    if strange:
        return f"'{strange[0][0]}', a {strange[0][1]}, comes after its last pooling layer '{name}', beside a classifier"
    reader = linear_layer(model, linear[0])
    size = pooling.output_size if isinstance(pooling.output_size, tuple) else (pooling.output_size,)
    dimensions = int(type(pooling).__name__[-2])
    sides = [side or 0 for side in (size if len(size) == dimensions else size * dimensions)]
    positions = math.prod(sides)
    if positions == 0 or reader.in_features % positions:
        return f"'{linear[0]}' reads {reader.in_features} numbers, which '{name}' with output_size={size} cannot give"
    return Found(name, reader.in_features // positions, norms[0] if norms else None, linear[0], linear[-1])


def replace_layers(model: nn.Module, asked: Asked) -> ReplacedPooling:
    """Put pooling in; the linear layers that read its vector or give other classes are new.

    Raises OptionError if the layers are not found, or something is asked for that the network does not have.
    """
    name = type(model).__name__
    if getattr(model, "aux_logits", False):
        raise OptionError(f"{name} has auxiliary classifiers, which pool half way; build it with aux_logits=False")
    found = find_layers(model)
    if isinstance(found, str):
        raise OptionError(f"the pooling of {name} cannot be replaced: {found}")
    check_class_token(asked.class_token, False, name)
    first, last = linear_layer(model, found.first), linear_layer(model, found.last)
    classes = asked.classes(last.out_features)
    pooling = asked.pooling(found.channels)
    width = size_of(pooling, "out_features")

    norm: nn.Module = nn.Identity()
    if found.norm is not None:
        norm = position_norm(model.get_submodule(found.norm))
        model.set_submodule(found.norm, nn.Identity())
    new: dict[str, nn.Module] = {found.pooling: MapPooling(norm, pooling)}
    new[found.first] = nn.Linear(width, classes if first is last else first.out_features, first.bias is not None)
    if first is not last and classes != last.out_features:
        new[found.last] = nn.Linear(last.in_features, classes, last.bias is not None)
    for place, layer in new.items():
        model.set_submodule(place, like(first.weight, model.training, layer))
    moved = () if found.norm is None else (found.norm,)
    return ReplacedPooling(
        name, asked.method, found.pooling, found.last, found.channels, width, classes, tuple(new), moved=moved
    )


def linear_layer(model: nn.Module, name: str) -> nn.Linear:
    """The linear layer of that name."""
    layer = model.get_submodule(name)
    assert isinstance(layer, nn.Linear)
    return layer


def _has_weights(module: nn.Module) -> bool:
    return next(module.parameters(), None) is not None or next(module.buffers(), None) is not None
