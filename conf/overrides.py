"""The arguments of a command: their values, and which options each of them sets. Free of torch."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from hydra.conf import HydraConf
from hydra.core.default_element import GroupDefault
from hydra.core.global_hydra import GlobalHydra
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import ChoiceSweep, QuotedString
from hydra.errors import HydraException
from hydra.types import RunMode
from omegaconf import DictConfig, OmegaConf

from conf.arguments import readable
from conf.schema import OVERLAYS, files_of
from lightning_modules.run.command import Command
from lightning_modules.run.sweep import sweep_name
from lightning_modules.settings.sections import GROUPS, SECTIONS


def values_of(arguments: list[str]) -> dict[str, Any]:
    """The values of ``name=value`` arguments; of several checkpoints in a sweep a tuple, of other sweeps None.

    What cannot be read is left out: Hydra says what is wrong with it.
    """
    parser, values = OverridesParser.create(), {}
    for argument in arguments:
        try:
            (override,) = parser.parse_overrides([argument])
            value: Any = override.value()
            if isinstance(value, ChoiceSweep) and override.key_or_group == "ckpt_path":
                value = tuple(each.text if isinstance(each, QuotedString) else each for each in value.list)
            elif override.is_sweep_override():
                value = None
            values[override.key_or_group] = value
        except HydraException:
            continue
    return values


def plugins_in(arguments: list[str]) -> list[object]:
    """The modules of ``plugins=[...]``."""
    texts = [argument.lstrip("+") for argument in arguments if argument.lstrip("+").startswith("plugins=")]
    overrides = OverridesParser.create().parse_overrides(readable(texts))
    values = [override.value() or [] for override in overrides]
    return [name for value in values for name in (value if isinstance(value, list) else [value])]


def options_set_by(overrides: list[str], choices: dict[str, str], training: bool) -> list[str]:
    """Dotted names of the options that arguments set.

    A group's name stands for its option ``name``, an overlay (recipe=..., debug=...) for all that its file sets.

    Args:
        overrides: the arguments, in the form Hydra reads.
        choices: the file that Hydra chose, by group.
        training: false: of overlays only the trainer's part counts (debug=fast), because a recipe says how to train.
    """
    names = []
    for override in OverridesParser.create().parse_overrides(overrides):
        key = override.key_or_group
        if key in OVERLAYS:
            chosen = choices.get(key)
            held = [] if chosen is None else names_set_by(key, chosen)
            names += held if training else [name for name in held if name.startswith("trainer.")]
        elif key in SECTIONS:
            # trainer=ddp sets what any file of its group changes, so that trainer=default takes that back.
            files = set(files_of(key)) - {"default"}
            names += sorted({f"{key}.{name}" for file in files for name in names_set_by(key, file)})
        else:
            names.append(f"{GROUPS[key][0]}.name" if key in GROUPS else key)
    return names


def command_of(config: DictConfig, hydra_config: HydraConf) -> Command:
    """What was asked for, by a command or for one job of a sweep.

    Args:
        config: its composed configuration.
        hydra_config: Hydra's own part of it.
    """
    known = {"method": config.method.name, "backbone": config.backbone.name, "dataset": config.data.name}
    arguments, choices = list(hydra_config.overrides.task), dict(hydra_config.runtime.choices)
    sweeps = hydra_config.mode == RunMode.MULTIRUN
    return Command(
        directory=Path(hydra_config.runtime.output_dir),
        known={"mode": config.mode, **known, "seed": config.seed},
        arguments=arguments,
        options_set=lambda: options_set_by(arguments, choices, training=config.mode == "fit"),
        directory_given=any(text.startswith("hydra.run.dir=") for text in hydra_config.overrides.hydra),
        sweep=sweep_name(hydra_config.sweep.dir) if sweeps else None,
    )


def names_set_by(group: str, name: str) -> list[str]:
    """Dotted names of the options that the file ``group/name.yaml`` sets; a group it chooses counts as its name."""
    hydra = GlobalHydra.instance().hydra
    assert hydra is not None
    loader: Any = hydra.config_loader  # its class with a repository is Hydra's own affair
    overlay = loader.repository.load_config(f"{group}/{name}")
    assert overlay is not None
    values = OmegaConf.to_container(overlay.config)
    assert isinstance(values, dict)
    values.pop("hydra", None)
    entries = [
        entry for entry in overlay.defaults_list or [] if isinstance(entry, GroupDefault) and entry.is_override()
    ]
    chosen = [str(entry.group).lstrip("/") for entry in entries]
    return [f"{GROUPS[each][0]}.name" for each in chosen if each in GROUPS] + list(_leaves("", values))


def _leaves(prefix: str, values: dict[Any, Any]) -> Iterator[str]:
    for key, value in values.items():
        if isinstance(value, dict):
            yield from _leaves(f"{prefix}{key}.", value)
        else:
            yield f"{prefix}{key}"
