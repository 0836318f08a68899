"""Optimizers by name. Free of torch."""

from __future__ import annotations

from dataclasses import dataclass

from gcp.errors import OptionError
from gcp.options import Options, option
from gcp.registry import Registry
from lightning_modules.settings.entry import Entry


@dataclass(frozen=True)
class SGDOptions(Options):
    """Options of `sgd`."""

    lr: float = option(0.1, "learning rate of features and representation", above=0)
    momentum: float = option(0.9, "momentum", minimum=0, maximum=1)
    weight_decay: float = option(1e-4, "weight decay", minimum=0)
    nesterov: bool = option(False, "Nesterov momentum")
    classifier_factor: float = option(1.0, "the classifier's learning rate is lr times this", above=0)

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.nesterov and self.momentum == 0:
            raise OptionError("nesterov needs a momentum greater than 0")


OPTIMIZERS: Registry[Entry] = Registry("optimizer")

OPTIMIZERS.register(
    "sgd",
    Entry("sgd", SGDOptions, "lightning_modules.optimisation:sgd", "stochastic gradient descent with momentum"),
)
