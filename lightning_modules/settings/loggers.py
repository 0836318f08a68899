"""Loggers by name. Free of torch."""

from __future__ import annotations

import os
from dataclasses import dataclass

from gcp.options import Options, option
from gcp.registry import Registry
from lightning_modules.settings.entry import Entry


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
    project: str | None = option(None, "W&B project; null: that of WANDB_PROJECT where it is set, else gcp")
    entity: str | None = option(None, "W&B user or team; null: that of WANDB_ENTITY, else the account's default")
    run_name: str | None = option(None, "run name; null: METHOD-BACKBONE-DATASET-sSEED")
    group: str | None = option(None, "run group; null: the sweep's directory, or BACKBONE-DATASET outside a sweep")
    tags: list[str] = option([], "tags beside method, backbone, dataset and seed")
    timeout: float = option(30.0, "seconds to wait for the service before going offline", above=0)

    @property
    def chosen_project(self) -> str:
        """Name of the project, by the option, else W&B's own variable."""
        return self.project or os.environ.get("WANDB_PROJECT") or "gcp"


@dataclass(frozen=True)
class TensorBoardOptions(Options):
    """Event files in the run directory have nothing to set."""


LOGGERS: Registry[Entry] = Registry("logger")

LOGGERS.register(
    "csv", Entry("csv", CSVOptions, "lightning_modules.loggers.csv:build", "metrics.csv in the run directory")
)
LOGGERS.register(
    "wandb",
    Entry("wandb", WandbOptions, "lightning_modules.loggers.wandb:build", "Weights & Biases, beside metrics.csv"),
)
LOGGERS.register(
    "tensorboard",
    Entry(
        "tensorboard",
        TensorBoardOptions,
        "lightning_modules.loggers.tensorboard:build",
        "TensorBoard, beside metrics.csv; needs the extra tensorboard",
    ),
)
