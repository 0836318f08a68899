"""Which parameters are trained how: groups with their learning rate and weight decay."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from torch import nn

from gcp.model import PoolingNetwork
from lightning_modules.settings.optimisation import OptimizerOptions

NO_DECAY = "_no_decay"  # end of the names of groups without weight decay


def parameter_groups(model: PoolingNetwork, options: OptimizerOptions) -> list[dict[str, Any]]:
    """Groups `features`, `representation` and `classifier`, the last with rate and weight decay of its own.

    With ``decay_norm_and_bias=False`` each is followed by one more, NAME_no_decay, for what is not at least a matrix:
    norms, biases and gains. What is frozen is left out, and so are groups without parameters (average pooling has
    none).
    """
    decay, rate = options.weight_decay, options.lr
    classifier_decay = decay if options.classifier_weight_decay is None else options.classifier_weight_decay
    parts: list[tuple[str, nn.Module, float, float]] = [
        ("features", model.features, rate, decay),
        ("representation", model.representation, rate, decay),
        ("classifier", model.classifier, rate * options.classifier_factor, classifier_decay),
    ]
    groups = []
    for name, module, lr, weight_decay in parts:
        decayed, exempt = _split(module.parameters(), options.decay_norm_and_bias)
        groups.append({"params": decayed, "lr": lr, "weight_decay": weight_decay, "name": name})
        groups.append({"params": exempt, "lr": lr, "weight_decay": 0.0, "name": f"{name}{NO_DECAY}"})
    return [group for group in groups if group["params"]]


def _split(parameters: Iterable[nn.Parameter], decay_everything: bool) -> tuple[list[nn.Parameter], list[nn.Parameter]]:
    """The trained parameters that weight decay acts on, and the others."""
    trained = [each for each in parameters if each.requires_grad]
    decayed = [each for each in trained if decay_everything or each.dim() > 1]
    chosen = {id(each) for each in decayed}
    return decayed, [each for each in trained if id(each) not in chosen]
