"""Exchanging the pooling method of a network that has been built."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

from torch import nn

from gcp.conditioning.orthogonal_weights import trained_weight
from gcp.errors import OptionError
from gcp.methods import METHODS, SpectralOptions
from gcp.model import PoolingNetwork
from gcp.options import default_of, option_names
from gcp.pooling.factory import ReducedPooling, create_pooling
from lightning_modules.classifier import Classifier
from lightning_modules.settings.training import SwitchOptions


def second_method(first: Mapping[str, Any], options: SwitchOptions) -> dict[str, Any]:
    """What the section `method` says after the switch.

    The channel reduction is that of the ``first``, and so are what covariance is estimated, how it is decomposed and
    what of it is classified, as far as the second method has these options and ``switch.options`` does not set them.
    """
    has = {each.name: each for each in dataclasses.fields(METHODS.get(str(options.to)).options)}
    kept = {
        name: first[name]
        for name in option_names(SpectralOptions)
        if name in first and name in has and first[name] != default_of(has[name])
    }
    reduction = {key: value for key, value in first.items() if key == "reduced_channels"}
    return {"name": options.to, **reduction, **kept, **options.options}


def pooling_of(model: PoolingNetwork) -> nn.Module:
    """The pooling layer, behind the channel reduction if there is one."""
    representation = model.representation
    return representation.pooling if isinstance(representation, ReducedPooling) else representation


def weights_before(model: PoolingNetwork) -> nn.Parameter:
    """Those of the last convolution before the pooling, of the channel reduction if there is one; what is trained."""
    found = [m for part in (model.features, model.representation) for m in part.modules() if isinstance(m, nn.Conv2d)]
    return found[-1].get_parameter(trained_weight(found[-1]))


def new_pooling(model: PoolingNetwork, method: Mapping[str, Any]) -> nn.Module:
    """A pooling layer that can take the place of the model's.

    Raises:
        OptionError: it gives another number of features, or one of the two layers has trained parameters.
    """
    options = {key: value for key, value in method.items() if key not in ("name", "reduced_channels")}
    present, name = pooling_of(model), method["name"]
    pooling = create_pooling(name, _pooled_channels(model), **options)
    if pooling.out_features != present.out_features:
        raise OptionError(
            f"switch.to={name} gives {pooling.out_features} features where the first method gives "
            f"{present.out_features}, so the classifier could not be kept; choose methods that agree"
        )
    if any(True for layer in (present, pooling) for _ in layer.parameters()):
        raise OptionError(
            f"switch.to={name}: a method with parameters of its own cannot be switched from or to, because the "
            "optimizer's state would no longer fit; choose methods without"
        )
    parameter = next(model.classifier.parameters())
    return pooling.to(parameter.device, parameter.dtype).train(present.training)


def set_method(module: Classifier, method: Mapping[str, Any]) -> None:
    """Let ``module`` pool by ``method``; all parameters stay the objects they are. Raises as `new_pooling`."""
    pooling = new_pooling(module.model, method)
    if isinstance(module.model.representation, ReducedPooling):
        module.model.representation.pooling = pooling
    else:
        module.model.representation = pooling
    module.hparams["method"] = dict(method)
    assert module.model.config is not None
    options = {name: value for name, value in method.items() if name not in ("name", "reduced_channels")}
    module.model.config = dataclasses.replace(module.model.config, method=method["name"], method_options=options)


def _pooled_channels(model: PoolingNetwork) -> int:
    if isinstance(model.representation, ReducedPooling):
        convolution = model.representation.reduction[0]  # type: ignore[index]  # a Sequential
        return int(convolution.out_channels)
    return int(model.features.num_features)  # type: ignore[arg-type]  # every backbone has it
