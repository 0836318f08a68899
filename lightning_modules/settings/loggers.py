"""Loggers by name, and which of them a configuration asks for. Free of torch."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from gcp.errors import OptionError, UnknownNameError
from gcp.options import Options, make_options, option
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
class MLflowOptions(Options):
    """Options of the `mlflow` logger, which comes beside metrics.csv."""

    store: str | None = option(
        None,
        "where runs are kept, a file or a server: sqlite:///runs.db, http://host:5000; null: MLFLOW_TRACKING_URI where "
        "it is set, else sqlite:///mlflow.db, in the folder the command is started in",
    )
    experiment: str | None = option(
        None, "experiment the runs are of; null: that of MLFLOW_EXPERIMENT_NAME where it is set, else gcp"
    )
    run_name: str | None = option(None, "run name; null: METHOD-BACKBONE-DATASET-sSEED")

    @property
    def chosen_store(self) -> str:
        """Address of the store, by the option, else MLflow's own variable."""
        return self.store or os.environ.get("MLFLOW_TRACKING_URI") or "sqlite:///mlflow.db"

    @property
    def chosen_experiment(self) -> str:
        """Name of the experiment, by the option, else MLflow's own variable."""
        return self.experiment or os.environ.get("MLFLOW_EXPERIMENT_NAME") or "gcp"


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
LOGGERS.register(
    "mlflow",
    Entry(
        "mlflow",
        MLflowOptions,
        "lightning_modules.loggers.mlflow:build",
        "MLflow, beside metrics.csv; needs the extra mlflow",
    ),
)


@dataclass(frozen=True)
class BesideOptions(Options):
    """What every choice of a logger has: others beside it."""

    beside: dict[str, Any] = option(
        {},
        "more loggers and their options: logger.beside.mlflow.experiment=NAME; logger=[wandb,mlflow] is short for "
        "logger=wandb with mlflow beside it",
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        for name, values in self.beside.items():
            try:
                entry = LOGGERS.get(name)
            except UnknownNameError as error:
                raise OptionError(f"beside: {error}") from None
            if not isinstance(values, Mapping):
                raise OptionError(f"beside.{name}: options are set one by one, logger.beside.{name}.option=value")
            try:
                make_options(entry.options, values, f"logger '{name}'")
            except OptionError as error:
                raise OptionError(f"beside.{name}: {error}") from None


def chosen_loggers(section: Mapping[str, Any]) -> dict[str, Options]:
    """The loggers that the section ``logger`` asks for, with their options: metrics.csv always, each of them once."""
    values = dict(section)
    name, beside = str(values.pop("name")), values.pop("beside", {})
    chosen = {"csv": {}, name: values, **{other: given for other, given in beside.items() if other != name}}
    return {each: make_options(LOGGERS.get(each).options, given, f"logger '{each}'") for each, given in chosen.items()}
