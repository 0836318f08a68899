"""Optimizers over the parameter groups of a pooling network."""

from __future__ import annotations

import inspect
from typing import Any

import torch
from torch.optim import SGD, AdamW, Optimizer

from gcp.errors import OptionError
from gcp.model import PoolingNetwork
from gcp.registry import nearest
from lightning_modules.optimisation.groups import parameter_groups
from lightning_modules.settings.optimisation import AdamWOptions, SGDOptions, TorchOptions

# Classes of torch.optim for other kinds of parameters or gradients than a network's, and the reason.
UNFIT = {
    "LBFGS": "it knows no parameter groups",
    "SparseAdam": "it is for sparse gradients only",
    "Muon": "it is for matrices only",
}


def sgd(model: PoolingNetwork, options: SGDOptions) -> Optimizer:
    """Stochastic gradient descent over `parameter_groups`."""
    return SGD(parameter_groups(model, options), lr=options.lr, momentum=options.momentum, nesterov=options.nesterov)


def adamw(model: PoolingNetwork, options: AdamWOptions) -> Optimizer:
    """Adam with decoupled weight decay (arXiv 1711.05101) over `parameter_groups`."""
    betas = (options.beta1, options.beta2)
    return AdamW(parameter_groups(model, options), lr=options.lr, betas=betas, eps=options.eps)


def torch_optimizer(model: PoolingNetwork, options: TorchOptions) -> Optimizer:
    """Any class of torch.optim over `parameter_groups`.

    Raises:
        OptionError: no such class, one that cannot train a network, an argument it does not take or refuses, or weight
            decay where the class has none.
    """
    cls: Any = _class(options.cls)
    takes = list(inspect.signature(cls).parameters)
    known = [name for name in takes if name not in ("params", "lr", "weight_decay")]
    for name in options.arguments:
        if name in ("lr", "weight_decay"):
            raise OptionError(f"optimizer.arguments.{name} is set as optimizer.{name}")
        if name not in known:
            raise OptionError(
                f"optimizer.arguments.{name}: torch.optim.{options.cls} has no argument '{name}'"
                f"{nearest(name, known)}; it takes: {', '.join(known)}"
            )
    groups = parameter_groups(model, options)
    if "weight_decay" not in takes and sum(group.pop("weight_decay") for group in groups):
        raise OptionError(f"torch.optim.{options.cls} has no weight decay; set optimizer.weight_decay=0")
    arguments = {name: tuple(value) if isinstance(value, list) else value for name, value in options.arguments.items()}
    try:
        optimizer: Optimizer = cls(groups, lr=options.lr, **arguments)
        return optimizer
    except (TypeError, ValueError, RuntimeError) as error:
        raise OptionError(f"torch.optim.{options.cls} refuses optimizer.arguments: {error}") from error


def _class(name: str) -> type[Optimizer]:
    classes = {
        key: value
        for key, value in vars(torch.optim).items()
        if inspect.isclass(value) and issubclass(value, Optimizer) and value is not Optimizer and key not in UNFIT
    }
    if name in UNFIT:
        raise OptionError(f"optimizer.cls={name} cannot train this network: {UNFIT[name]}; take another one")
    if name not in classes:
        raise OptionError(
            f"optimizer.cls: torch.optim has no optimizer '{name}'{nearest(name, classes)}; "
            f"available: {', '.join(sorted(classes))}"
        )
    return classes[name]
