"""Whitening in place of batch normalisation, in networks that have been built."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm

from gcp.errors import OptionError, OptionTypeError, few
from gcp.options import check_type
from gcp.registry import nearest
from gcp.whitening import Whitening

REPLACEABLE = (nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d, nn.SyncBatchNorm)
FIRST, ALL = "first", "all"


def replace_batchnorm(
    model: nn.Module, which: str | Sequence[str] = FIRST, *, group_size: int | None = None, **options: Any
) -> dict[str, Whitening]:
    """Put a `Whitening` in place of batch normalisation layers, in the network itself (arXiv 1804.08450).

    Scale, shift, momentum, device, dtype and mode are taken over, and so are the running statistics: the covariance
    starts as the diagonal of the variances. With ``eps`` taken over as an absolute one too, the network in eval mode
    gives what it gave before.

    Args:
        model: the network.
        which: "first", the first layer in the order of registration; "all"; or names of layers as in
            ``model.named_modules()``.
        group_size: channels that are whitened together, of each layer; None: all of it. Whitening takes about as long
            as an eigendecomposition, and wants some times as many values per channel as there are channels in a group.
        options: arguments of `Whitening`, and of its method, other than the batch normalisation's.

    Returns:
        the new layers by name, in order.

    Raises:
        OptionTypeError: not a module, or arguments of a wrong type.
        OptionError: nothing to replace, a name that is none or no batch normalisation, a layer that does more than
            normalise or is no module's child, or a group_size that does not divide the channels. Nothing is replaced
            then.

    >>> model = nn.Sequential(nn.Conv2d(3, 8, 3), nn.BatchNorm2d(8), nn.ReLU(), nn.BatchNorm2d(8))
    >>> list(replace_batchnorm(model, group_size=4))
    ['1']
    >>> model[1]
    Whitening(8, eps=1e-05, momentum=0.1, affine=True, track_running_stats=True, groups=2, method=lyapunov)
    """
    if not isinstance(model, nn.Module):
        raise OptionTypeError(f"model must be an nn.Module, got {type(model).__name__}")
    check_type("which", list(which) if isinstance(which, Sequence) and not isinstance(which, str) else which, _WHICH)
    check_type("group_size", group_size, int | None)
    chosen = _chosen(model, which)
    layers = {layer: _whitening(name, layer, group_size, options) for name, layer in chosen.items()}
    for path, module in list(model.named_modules(remove_duplicate=False)):
        if isinstance(module, _BatchNorm) and module in layers:
            parent, _, child = path.rpartition(".")
            setattr(model.get_submodule(parent), child, layers[module])
    return {name: layers[layer] for name, layer in chosen.items()}


_WHICH = str | list[str]


def _chosen(model: nn.Module, which: str | Sequence[str]) -> dict[str, _BatchNorm]:
    """The layers that are asked for, by name."""
    modules = dict(model.named_modules())
    found = {name: each for name, each in modules.items() if isinstance(each, _BatchNorm)}
    if not found:
        norms = sorted({type(each).__name__ for each in modules.values() if "norm" in type(each).__name__.lower()})
        has = f"it has {few(norms)}" if norms else "it has no normalisation that is a module"
        raise OptionError(f"{type(model).__name__} has no batch normalisation to replace: {has}")
    if isinstance(which, str):
        names = {FIRST: [next(iter(found))], ALL: list(found)}.get(which, [which])
    else:
        names = list(which)
    for name in names:
        if name in found:
            continue
        if name in modules:
            raise OptionError(f"the layer '{name}' is no batch normalisation but {type(modules[name]).__name__}")
        raise OptionError(
            f"which must be {FIRST}, {ALL} or names of layers; there is no layer '{name}'{nearest(name, found)}; "
            f"batch normalisations are {few(list(found))}"
        )
    return {name: found[name] for name in names}


def _whitening(name: str, layer: _BatchNorm, group_size: int | None, options: dict[str, Any]) -> Whitening:
    """What takes the place of ``layer``."""
    kind = type(layer).__name__
    if not name:
        raise OptionError(f"the model is itself the {kind} to replace; give the network that it is part of")
    if isinstance(layer, Whitening):
        raise OptionError(f"the layer '{name}' whitens already")
    if type(layer) not in REPLACEABLE:
        raise OptionError(
            f"the layer '{name}' is a {kind}, which may do more than normalise; only "
            f"{', '.join(each.__name__ for each in REPLACEABLE)} are replaced"
        )
    if getattr(layer, "process_group", None) is not None:
        raise OptionError(
            f"the layer '{name}' has a process group of its own, and whitening knows the default one only"
        )
    given = sorted({"num_features", "affine", "track_running_stats"} & set(options))
    if given:
        raise OptionError(f"{given[0]} is taken over from the layer '{name}'; leave it out")
    channels = layer.num_features
    if group_size is not None and (group_size < 1 or channels % group_size):
        raise OptionError(f"group_size must divide the channels, got {group_size} for the {channels} of '{name}'")
    tensor = next((each for each in (layer.weight, layer.running_mean) if each is not None), torch.empty(0))
    same: dict[str, Any] = {"eps": layer.eps, "relative": False, "momentum": layer.momentum}
    same |= {"groups": 1 if group_size is None else channels // group_size, "sync": type(layer) is nn.SyncBatchNorm}
    same |= {"device": tensor.device, "dtype": tensor.dtype, **options}
    new = Whitening(channels, affine=layer.affine, track_running_stats=layer.track_running_stats, **same)
    with torch.no_grad():
        for parameter in ("weight", "bias"):
            value = getattr(layer, parameter)
            if value is None and layer.affine:
                new.register_parameter(parameter, None)
            elif value is not None:
                getattr(new, parameter).copy_(value).requires_grad_(value.requires_grad)
        if layer.running_mean is not None and new.running_mean is not None and new.running_covariance is not None:
            assert layer.running_var is not None
            assert layer.num_batches_tracked is not None
            assert new.num_batches_tracked is not None
            new.running_mean.copy_(layer.running_mean)
            new.running_covariance.copy_(layer.running_var.view(new.groups, -1).diag_embed())
            new.num_batches_tracked.copy_(layer.num_batches_tracked)
    return new.train(layer.training)
