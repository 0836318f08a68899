"""The sections of a run's configuration: which names fill them, and which options each has. Free of torch."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from datamodules.datasets import DATASETS
from gcp.backbones.registry import BACKBONES
from gcp.methods import METHODS
from gcp.options import LARGEST_SEED, Options, option
from lightning_modules.settings.callback_options import CallbackOptions
from lightning_modules.settings.loggers import LOGGERS, BesideOptions
from lightning_modules.settings.modes import (
    AnalysisOptions,
    ExportOptions,
    ReportOptions,
    ShardsOptions,
    SweepOptions,
)
from lightning_modules.settings.optimisation import OPTIMIZERS, SCHEDULES
from lightning_modules.settings.search import SearchOptions
from lightning_modules.settings.training import SecondStageOptions, SwitchOptions, TrainerOptions, TrainingOptions

MODES = ("fit", "test", "export", "predict", "report", "analyze", "shards")
WITHOUT_CHECKPOINT = ("fit", "report", "analyze", "shards")  # modes that need none

# Group of the command line, section of the configuration it fills, and the registry its names come from.
GROUPS: dict[str, tuple[str, Any]] = {
    "method": ("method", METHODS),
    "backbone": ("backbone", BACKBONES),
    "dataset": ("data", DATASETS),
    "optimizer": ("optimizer", OPTIMIZERS),
    "schedule": ("schedule", SCHEDULES),
    "logger": ("logger", LOGGERS),
}
# Sections with one option class each.
SECTIONS: dict[str, type[Options]] = {
    "trainer": TrainerOptions,
    "training": TrainingOptions,
    "callbacks": CallbackOptions,
    "switch": SwitchOptions,
    "export": ExportOptions,
    "shards": ShardsOptions,
    "sweep": SweepOptions,
    "report": ReportOptions,
    "search": SearchOptions,
    "analysis": AnalysisOptions,
    "second_stage": SecondStageOptions,
}


@dataclass(frozen=True)
class ReductionOptions(Options):
    """What the network does before the pooling, whatever the method."""

    reduced_channels: int | None = option(
        256, "channels left by a 1x1 convolution, batch norm and ReLU before pooling; null: not reduced", minimum=1
    )


@dataclass(frozen=True)
class HeadOptions(Options):
    """What the network does after the pooling, whatever the backbone."""

    hidden: list[int] | None = option(
        None, "widths of the classifier's hidden layers; null: the backbone's own; []: a linear classifier", minimum=1
    )
    class_token: str | None = option(
        None,
        "what becomes of a transformer's class token: sum, its logits are added to those of the patches; concat, "
        "it is classified with them as one vector; null: nothing",
        choices=("sum", "concat"),
    )


# Options a group has beyond those of its entries.
ADDED: dict[str, type[Options]] = {"method": ReductionOptions, "backbone": HeadOptions, "logger": BesideOptions}


@dataclass(frozen=True)
class RunOptions(Options):
    """Options of a run as a whole."""

    mode: str = option(
        "fit",
        "fit: train, then test the best checkpoint; of ckpt_path: test; export: a file that runs without this project; "
        "predict: classify the images of data.path; report: compare the runs in path; "
        "analyze: precision and smoothness of the methods; shards: write the dataset as tar files to be streamed",
        choices=MODES,
    )
    seed: int = option(0, "seed of every random generator", minimum=0, maximum=LARGEST_SEED)
    ckpt_path: str | None = option(
        None,
        "checkpoint or run directory to use or to go on from; a published checkpoint or a network's folder "
        "(export.format=hub) to use or to start from; "
        "last: the newest under outputs/ and multirun/, or in hydra.run.dir",
    )
    ckpt_triangle: str = option(
        "upper",
        "order of the covariance's triangle in a published checkpoint, see docs/checkpoints.md",
        choices=("upper", "lower"),
    )
    ckpt_classifier: str = option(
        "load",
        "new: take all but the classifier from the checkpoint, for other classes, and train anew",
        choices=("load", "new"),
    )
    ckpt_schedule: str = option(
        "load",
        "new: go on with a run at the learning rate, weight decay, ... and schedule of the command line",
        choices=("load", "new"),
    )
    threads: int | None = option(
        None,
        "threads of torch on the CPU, on which the last digits of results depend; null: torch decides",
        minimum=1,
        maximum=1024,
    )
    compile: bool = option(False, "torch.compile the network for training: minutes at first, then faster steps")
    path: str | None = option(None, "folder, or several with commas between, whose runs mode=report compares")
    published: dict[str, Any] = option(
        {}, "published results of a recipe, for reports: source, dataset, and for each method its metrics"
    )
    plugins: list[str] = option([], "your own modules that register methods, backbones, datasets or callbacks")


def sections() -> list[str]:
    """Sections of the configuration: those a group fills, and the others."""
    return [*(section for section, _ in GROUPS.values()), *SECTIONS]
