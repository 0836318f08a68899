"""The typed schema of the command line, derived from the option classes of what the registries hold. Free of torch."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any, get_origin, get_type_hints

from hydra.core.config_store import ConfigStore
from omegaconf import MISSING, DictConfig, OmegaConf

from datamodules.datasets import DATASETS
from gcp.backbones.registry import BACKBONES
from gcp.methods import METHODS
from gcp.options import LARGEST_SEED, Options, option
from lightning_modules.settings.analysis import AnalysisOptions
from lightning_modules.settings.callbacks import CallbackOptions, sections_of_callbacks
from lightning_modules.settings.export import ExportOptions
from lightning_modules.settings.loggers import LOGGERS
from lightning_modules.settings.optimizers import OPTIMIZERS
from lightning_modules.settings.schedules import SCHEDULES
from lightning_modules.settings.second_stage import SecondStageOptions
from lightning_modules.settings.sweep import SweepOptions
from lightning_modules.settings.switch import SwitchOptions
from lightning_modules.settings.trainer import TrainerOptions
from lightning_modules.settings.training import TrainingOptions

HERE = Path(__file__).parent
MODES = ("fit", "test", "export", "predict", "report", "analyze")

# Group of the command line, section of the configuration it fills, and the registry its names come from.
GROUPS: dict[str, tuple[str, Any]] = {
    "method": ("method", METHODS),
    "backbone": ("backbone", BACKBONES),
    "dataset": ("data", DATASETS),
    "optimizer": ("optimizer", OPTIMIZERS),
    "schedule": ("schedule", SCHEDULES),
    "logger": ("logger", LOGGERS),
}
# Options that take another's value unless set, by group and name.
INTERPOLATED = {("dataset", "seed"): "${seed}"}
# Sections with one option class each.
SECTIONS: dict[str, type[Options]] = {
    "trainer": TrainerOptions,
    "training": TrainingOptions,
    "callbacks": CallbackOptions,
    "switch": SwitchOptions,
    "export": ExportOptions,
    "sweep": SweepOptions,
    "analysis": AnalysisOptions,
    "second_stage": SecondStageOptions,
}
# Groups whose files lie over the others, and what they are for.
OVERLAYS = {
    "recipe": "whole experiments",
    "sweep": "several runs",
    "debug": "short runs that find mistakes",
    "launcher": "where the jobs of a sweep run",
}


@dataclasses.dataclass(frozen=True)
class ReductionOptions(Options):
    """What the network does before the pooling, whatever the method."""

    reduced_channels: int | None = option(
        256, "channels left by a 1x1 convolution, batch norm and ReLU before pooling; null: not reduced", minimum=1
    )


@dataclasses.dataclass(frozen=True)
class HeadOptions(Options):
    """What the network does after the pooling, whatever the backbone."""

    hidden: list[int] | None = option(
        None, "widths of the classifier's hidden layers; null: the backbone's own; []: a linear classifier", minimum=1
    )


# Options a group has beyond those of its entries.
ADDED: dict[str, type[Options]] = {"method": ReductionOptions, "backbone": HeadOptions}


@dataclasses.dataclass(frozen=True)
class RunOptions(Options):
    """Options of a run as a whole."""

    mode: str = option(
        "fit",
        "fit: train, then test the best checkpoint; of ckpt_path: test; export: a file that runs without this project; "
        "predict: classify the images of data.path; report: compare the runs in path; "
        "analyze: precision and smoothness of the methods",
        choices=MODES,
    )
    seed: int = option(0, "seed of every random generator", minimum=0, maximum=LARGEST_SEED)
    ckpt_path: str | None = option(
        None,
        "checkpoint or run directory to use or to go on from, or a published checkpoint to use or to start from; "
        "last: the newest under outputs/, or in hydra.run.dir",
    )
    ckpt_triangle: str = option(
        "upper", "order of the covariance's triangle in a published checkpoint, see README", choices=("upper", "lower")
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
        None, "threads of torch on the CPU, on which the last digits of results depend; none: torch decides", minimum=1
    )
    compile: bool = option(False, "torch.compile the network for training: minutes at first, then faster steps")
    path: str | None = option(None, "folder, or several with commas between, whose runs mode=report compares")
    published: dict[str, Any] = option(
        {}, "published results of a recipe, for reports: source, dataset, and for each method its metrics"
    )
    plugins: list[str] = option([], "your own modules that register methods, backbones, datasets or callbacks")


def register() -> None:
    """Store the schema of every registered name; call again after a plugin has added some.

    A name without a YAML of its own, as a plugin's, becomes an option of its group too.
    """
    store = ConfigStore.instance()
    store.store(group="_schema", name="run", node=schema_of(RunOptions, **dict.fromkeys(sections(), MISSING)))
    for group, (section, registry) in GROUPS.items():
        for name in registry.names():
            entry = registry.get(name)
            extra = {"name": name, **added_options(group, entry)}
            interpolated = {key: text for (place, key), text in INTERPOLATED.items() if place == group}
            node = schema_of(entry.options, interpolated, **extra)
            store.store(group=f"_schema/{group}", name=name, node=node)
            if not (HERE / group / f"{name}.yaml").exists():
                store.store(group=group, name=name, node=node, package=section)
    for section, options in SECTIONS.items():
        inner = sections_of_callbacks() if section == "callbacks" else ()
        store.store(group=f"_schema/{section}", name="default", node=schema_of(options, inner=inner))


def added_options(group: str, entry: Any) -> dict[str, Any]:
    """The options of ADDED that a group's entry has, with their defaults."""
    if group == "method":
        return {"reduced_channels": entry.reduced_channels}
    return {"hidden": None} if group == "backbone" else {}


def schema_of(
    options: type[Options],
    interpolated: Mapping[str, str] = MappingProxyType({}),
    inner: Iterable[str] = (),
    **extra: Any,
) -> type:
    """The class OmegaConf types a section by: ``extra`` and the fields of ``options``, open to overrides.

    Args:
        options: an option class, which may be frozen.
        interpolated: defaults that refer to another option, in place of the fields' own.
        inner: sections inside it, empty and open: what is set in one tells whether it is wanted.
        extra: more fields: a name, an option that ADDED has, or MISSING for a section to be filled.
    """
    hints = get_type_hints(options)
    fields: list[Any] = [
        (name, _type_of(name, value), dataclasses.field(default=value)) for name, value in extra.items()
    ]
    for field in dataclasses.fields(options):
        default = {"default": field.default, "default_factory": field.default_factory}
        given = {key: value for key, value in default.items() if value is not dataclasses.MISSING}
        if get_origin(hints[field.name]) is dict:
            given = {"default_factory": _open}
        if field.name in interpolated:
            given = {"default": interpolated[field.name]}
        fields.append((field.name, hints[field.name], dataclasses.field(**given)))
    fields += [(name, dict[str, Any], dataclasses.field(default_factory=_open)) for name in inner]
    return dataclasses.make_dataclass(options.__name__, fields)


def sections() -> list[str]:
    """Sections of the configuration: those a group fills, and the others."""
    return [*(section for section, _ in GROUPS.values()), *SECTIONS]


def _open() -> DictConfig:
    """An empty mapping that takes any key, where the rest of the configuration takes known ones only."""
    return OmegaConf.create({}, flags={"struct": False})


def _type_of(name: str, value: Any) -> Any:
    if value == MISSING:
        return Any
    added = {key: hint for options in ADDED.values() for key, hint in get_type_hints(options).items()}
    return added.get(name, str)
