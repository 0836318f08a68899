"""Optimizers by name. Free of torch."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from gcp.errors import OptionError
from gcp.options import Options, option
from gcp.registry import Registry
from lightning_modules.settings.entry import Entry


@dataclass(frozen=True)
class OptimizerOptions(Options):
    """Options every optimizer takes."""

    lr: float = option(0.1, "learning rate of features and representation", above=0)
    weight_decay: float = option(1e-4, "weight decay", minimum=0)
    classifier_factor: float = option(1.0, "the classifier's learning rate is lr times this", above=0)
    classifier_weight_decay: float | None = option(None, "weight decay of the classifier; none: as the rest", minimum=0)
    decay_norm_and_bias: bool = option(True, "false: no weight decay for norms, biases and other single gains")


@dataclass(frozen=True)
class SGDOptions(OptimizerOptions):
    """Options of `sgd`."""

    momentum: float = option(0.9, "momentum", minimum=0, maximum=1)
    nesterov: bool = option(False, "Nesterov momentum")

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.nesterov and self.momentum == 0:
            raise OptionError("nesterov needs a momentum greater than 0")


@dataclass(frozen=True)
class AdamWOptions(OptimizerOptions):
    """Options of `adamw`."""

    lr: float = option(1e-3, "learning rate of features and representation", above=0)
    weight_decay: float = option(1e-2, "weight decay, times the learning rate", minimum=0)
    beta1: float = option(0.9, "decay of the gradient's running mean", minimum=0, maximum=1)
    beta2: float = option(0.999, "decay of the squared gradient's running mean", minimum=0, maximum=1)
    eps: float = option(1e-8, "added to the root of the latter", above=0)

    def __post_init__(self) -> None:
        super().__post_init__()
        for name in ("beta1", "beta2"):
            if getattr(self, name) == 1:
                raise OptionError(f"{name} must be less than 1, got 1")


@dataclass(frozen=True)
class TorchOptions(OptimizerOptions):
    """Options of `torch`: a class of torch.optim by name."""

    lr: float = option(1e-3, "learning rate of features and representation", above=0)
    weight_decay: float = option(0.0, "weight decay, in the way of the class", minimum=0)
    cls: str = option("Adam", "a class of torch.optim: Adam, NAdam, RMSprop, ...")
    arguments: dict[str, Any] = option({}, "arguments of the class, optimizer.arguments.alpha=0.9")


OPTIMIZERS: Registry[Entry] = Registry("optimizer")

_MODULE = "lightning_modules.optimisation.optimizers"

OPTIMIZERS.register(
    "sgd",
    Entry("sgd", SGDOptions, f"{_MODULE}:sgd", "stochastic gradient descent with momentum"),
)
OPTIMIZERS.register("adamw", Entry("adamw", AdamWOptions, f"{_MODULE}:adamw", "Adam with decoupled weight decay"))
OPTIMIZERS.register(
    "torch", Entry("torch", TorchOptions, f"{_MODULE}:torch_optimizer", "any class of torch.optim by name")
)
