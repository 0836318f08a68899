"""Options of optimizers, schedules, loggers, callbacks and the trainer, with the registries that name them.

Free of torch, like `gcp.methods`: the command line's schema and its help are derived from these classes.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from gcp.errors import OptionError
from gcp.options import Options, option
from gcp.registry import Registry


@dataclass(frozen=True)
class Entry:
    """A named optimizer, schedule or logger: its options, what builds it ("module:attribute") and a line of help."""

    name: str
    options: type[Options]
    build: str | Callable[..., Any]
    summary: str


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


@dataclass(frozen=True)
class StepOptions(Options):
    """Options of `step`."""

    milestones: list[int] = option([10, 13], "epochs after which the learning rate drops", minimum=0)
    gamma: float = option(0.1, "factor of each drop", above=0)


@dataclass(frozen=True)
class CSVOptions(Options):
    """metrics.csv in the run directory has nothing to set."""


@dataclass(frozen=True)
class WandbOptions(Options):
    """Options of the `wandb` logger, which comes beside metrics.csv."""

    mode: str = option(
        "auto",
        "auto: online when a key is configured and the service answers, else offline; WANDB_MODE wins where it is set",
        choices=("auto", "online", "offline", "disabled"),
    )
    project: str = option("gcp", "W&B project")
    entity: str | None = option(None, "W&B user or team; none: the account's default")
    run_name: str | None = option(None, "run name; none: METHOD-BACKBONE-DATASET-sSEED")
    group: str | None = option(None, "run group; none: BACKBONE-DATASET, so that methods compare")
    tags: list[str] = option([], "tags beside method, backbone, dataset and seed")
    timeout: float = option(30.0, "seconds to wait for the service before going offline", above=0)


@dataclass(frozen=True)
class CallbackOptions(Options):
    """What happens around the training loop."""

    monitor: str = option("val/acc1", "metric that decides which checkpoint is best")
    monitor_mode: str = option("max", "whether more or less of it is better", choices=("max", "min"))
    progress_bar: bool = option(True, "rich progress bars")
    log_learning_rate: bool = option(True, "write the learning rates to the loggers")


@dataclass(frozen=True)
class TrainerOptions(Options):
    """Arguments of Lightning's Trainer, under its names."""

    max_epochs: int = option(15, "epochs of training", minimum=1)
    accelerator: str = option("auto", "auto, cpu, gpu, ...")
    devices: int | str = option(1, "number of devices, or auto")
    num_nodes: int = option(1, "number of machines", minimum=1)
    strategy: str = option("auto", "auto, ddp, ...")
    precision: str = option(
        "32-true",
        "of the network; the spectral layer has its own, method.precision",
        choices=("32-true", "64-true", "16-mixed", "bf16-mixed"),
    )
    deterministic: bool = option(False, "deterministic algorithms only, where torch has them")
    gradient_clip_val: float | None = option(5.0, "largest gradient norm; none: not clipped", above=0)
    accumulate_grad_batches: int = option(1, "batches per optimizer step", minimum=1)
    limit_train_batches: int | float = option(1.0, "number or fraction of batches per epoch", minimum=0)
    limit_val_batches: int | float = option(1.0, "number or fraction of validation batches", minimum=0)
    limit_test_batches: int | float = option(1.0, "number or fraction of test batches", minimum=0)
    overfit_batches: int | float = option(0.0, "train on so many batches only, again and again", minimum=0)
    log_every_n_steps: int = option(10, "steps between two rows of training metrics", minimum=1)
    check_val_every_n_epoch: int = option(1, "epochs between two validations", minimum=1)
    num_sanity_val_steps: int = option(0, "validation batches tried before training", minimum=0)
    sync_batchnorm: bool = option(False, "batch statistics over all devices")
    detect_anomaly: bool = option(False, "trace NaN in the backward to the operation that made it (slow)")


OPTIMIZERS: Registry[Entry] = Registry("optimizer")
SCHEDULES: Registry[Entry] = Registry("schedule")
LOGGERS: Registry[Entry] = Registry("logger")

OPTIMIZERS.register(
    "sgd",
    Entry("sgd", SGDOptions, "lightning_modules.optimisation:sgd", "stochastic gradient descent with momentum"),
)
SCHEDULES.register(
    "step", Entry("step", StepOptions, "lightning_modules.optimisation:step", "drops at the epochs listed")
)
LOGGERS.register(
    "csv", Entry("csv", CSVOptions, "lightning_modules.loggers.csv:build", "metrics.csv in the run directory")
)
LOGGERS.register(
    "wandb",
    Entry("wandb", WandbOptions, "lightning_modules.loggers.wandb:build", "Weights & Biases, beside metrics.csv"),
)
