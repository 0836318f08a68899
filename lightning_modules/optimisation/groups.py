"""Which parameters are trained how: groups with their learning rate and weight decay."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from torch import nn

from gcp.backbones.feature_map import Freezable
from gcp.errors import OptionError
from gcp.model import PoolingNetwork
from lightning_modules.settings.optimisation import OptimizerOptions

NO_DECAY = "_no_decay"  # end of the names of groups without weight decay


def parameter_groups(model: PoolingNetwork, options: OptimizerOptions) -> list[dict[str, Any]]:
    """Groups `features`, `representation` and `classifier`, the last with rate and weight decay of its own.

    With ``layer_decay`` below 1 there are several in the place of `features`, one for each level of the backbone, from
    the images on: `features_conv_stem`, `features_blocks.0`, ... Parameters outside all levels are in the first.

    With ``decay_norm_and_bias=False`` each is followed by one more, NAME_no_decay, for what is not at least a matrix:
    norms, biases and gains. What is frozen is left out, and so are groups without parameters (average pooling has
    none).

    Raises OptionError for ``layer_decay`` with a backbone that has no levels: one that is no `Freezable`.
    """
    decay, rate = options.weight_decay, options.lr
    classifier_decay = decay if options.classifier_weight_decay is None else options.classifier_weight_decay
    parts: list[tuple[str, list[nn.Parameter], float, float]] = [
        *((name, each, lr, decay) for name, each, lr in _features(model.features, options)),
        ("representation", list(model.representation.parameters()), rate, decay),
        ("classifier", list(model.classifier.parameters()), rate * options.classifier_factor, classifier_decay),
    ]
    groups = []
    for name, parameters, lr, weight_decay in parts:
        decayed, exempt = _split(parameters, options.decay_norm_and_bias)
        groups.append({"params": decayed, "lr": lr, "weight_decay": weight_decay, "name": name})
        groups.append({"params": exempt, "lr": lr, "weight_decay": 0.0, "name": f"{name}{NO_DECAY}"})
    return [group for group in groups if group["params"]]


def _features(backbone: nn.Module, options: OptimizerOptions) -> list[tuple[str, list[nn.Parameter], float]]:
    """The backbone's groups: name, parameters and learning rate."""
    rate, everything = options.lr * options.features_factor, list(backbone.parameters())
    if options.layer_decay == 1:
        return [("features", everything, rate)]
    if not isinstance(backbone, Freezable):
        raise OptionError(
            f"optimizer.layer_decay needs a backbone with levels, a Freezable; {type(backbone).__name__} is none, so "
            "leave it at 1"
        )
    levels = [
        (name, [parameter for stage in stages for parameter in stage.parameters()])
        for name, stages in backbone.levels()
    ]
    grouped = {id(parameter) for _, parameters in levels for parameter in parameters}
    levels[0][1].extend(parameter for parameter in everything if id(parameter) not in grouped)
    return [
        (f"features_{name}", parameters, rate * options.layer_decay ** (len(levels) - 1 - depth))
        for depth, (name, parameters) in enumerate(levels)
    ]


def _split(parameters: Iterable[nn.Parameter], decay_everything: bool) -> tuple[list[nn.Parameter], list[nn.Parameter]]:
    """The trained parameters that weight decay acts on, and the others."""
    trained = [each for each in parameters if each.requires_grad]
    decayed = [each for each in trained if decay_everything or each.dim() > 1]
    chosen = {id(each) for each in decayed}
    return decayed, [each for each in trained if id(each) not in chosen]
