"""Optimizers and learning-rate schedules by name. Free of torch."""

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

    lr: float = option(0.1, "learning rate, of all that has no factor", above=0)
    weight_decay: float = option(1e-4, "weight decay", minimum=0)
    classifier_factor: float = option(1.0, "the classifier's learning rate is lr times this", above=0)
    features_factor: float = option(1.0, "the backbone's learning rate is lr times this", above=0)
    layer_decay: float = option(
        1.0,
        "and that of each of its levels this times the rate of the next one: earlier ones learn more slowly; 1: alike",
        above=0,
        maximum=1,
    )
    classifier_weight_decay: float | None = option(None, "weight decay of the classifier; null: as the rest", minimum=0)
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

    lr: float = option(1e-3, "learning rate, of all that has no factor", above=0)
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

    lr: float = option(1e-3, "learning rate, of all that has no factor", above=0)
    weight_decay: float = option(0.0, "weight decay, in the way of the class", minimum=0)
    cls: str = option("Adam", "a class of torch.optim: Adam, NAdam, RMSprop, ...")
    arguments: dict[str, Any] = option({}, "arguments of the class, optimizer.arguments.alpha=0.9")


OPTIMIZERS: Registry[Entry] = Registry("optimizer")

_BUILT_IN = "lightning_modules.optimisation"

OPTIMIZERS.register(
    "sgd",
    Entry("sgd", SGDOptions, f"{_BUILT_IN}.optimizers:sgd", "stochastic gradient descent with momentum"),
)
OPTIMIZERS.register(
    "adamw", Entry("adamw", AdamWOptions, f"{_BUILT_IN}.optimizers:adamw", "Adam with decoupled weight decay")
)
OPTIMIZERS.register(
    "torch", Entry("torch", TorchOptions, f"{_BUILT_IN}.optimizers:torch_optimizer", "any class of torch.optim by name")
)


@dataclass(frozen=True)
class ScheduleOptions(Options):
    """Options every schedule takes, and all that `constant` has."""

    warmup_epochs: int = option(0, "epochs over which the learning rate rises linearly, once in each", minimum=0)
    warmup_steps: int = option(0, "the same counted in optimizer steps: it rises with each", minimum=0)
    warmup_factor: float = option(0.01, "factor of the learning rate the warm-up begins with", above=0, maximum=1)

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.warmup_epochs and self.warmup_steps:
            raise OptionError("warmup_epochs and warmup_steps exclude each other; set one of them")


@dataclass(frozen=True)
class StepOptions(ScheduleOptions):
    """Options of `step`."""

    milestones: list[int] = option([10, 13], "epochs after which the learning rate drops", minimum=0)
    gamma: float = option(0.1, "factor of each drop", above=0)


@dataclass(frozen=True)
class LogOptions(ScheduleOptions):
    """Options of `log`."""

    p0: float | None = option(
        None, "the first learning rate is 10^p0, whatever optimizer.lr says; null: it is optimizer.lr"
    )
    p1: float = option(-4.0, "the last epoch's learning rate is 10^p1")


@dataclass(frozen=True)
class CosineOptions(ScheduleOptions):
    """Options of `cosine`."""

    final_factor: float = option(0.0, "factor the learning rate falls to", minimum=0, maximum=1)


SCHEDULES: Registry[Entry] = Registry("schedule")

SCHEDULES.register("step", Entry("step", StepOptions, f"{_BUILT_IN}.schedules:step", "drops at the epochs listed"))
SCHEDULES.register(
    "log", Entry("log", LogOptions, f"{_BUILT_IN}.schedules:log", "logarithmic over trainer.max_epochs, to 10^p1")
)
SCHEDULES.register(
    "cosine", Entry("cosine", CosineOptions, f"{_BUILT_IN}.schedules:cosine", "half a cosine over trainer.max_epochs")
)
SCHEDULES.register(
    "constant", Entry("constant", ScheduleOptions, f"{_BUILT_IN}.schedules:constant", "the same rate throughout")
)
