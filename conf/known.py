"""Every option the command line knows, by its dotted name: what it takes, and whose it is. Free of torch."""

from __future__ import annotations

import dataclasses
from functools import cache
from typing import Any, get_origin, get_type_hints

from conf.schema import HERE, OVERLAYS, files_of
from gcp.methods import METHODS
from gcp.options import alternatives
from lightning_modules.settings.callback_options import CallbackOptions, SwitchedOptions
from lightning_modules.settings.callbacks import CALLBACKS, sections_of_callbacks
from lightning_modules.settings.sections import ADDED, GROUPS, MODES, SECTIONS, RunOptions, sections

# What people call an option, where it is not its name here.
ALIASES = {
    "learning_rate": "optimizer.lr",
    "wd": "optimizer.weight_decay",
    "epochs": "trainer.max_epochs",
    "num_epochs": "trainer.max_epochs",
    "gpus": "trainer.devices",
    "nodes": "trainer.num_nodes",
    "fp16": "trainer.precision",
    "amp": "trainer.precision",
    "clip": "trainer.gradient_clip_val",
    "bs": "data.batch_size",
    "batch": "data.batch_size",
    "workers": "data.num_workers",
    "img_size": "data.image_size",
    "resolution": "data.image_size",
    "data_dir": "data.root",
    "data_path": "data.root",
    "pretrained": "backbone.weights",
    "checkpoint": "ckpt_path",
    "ckpt": "ckpt_path",
    "resume": "ckpt_path",
    "output": "hydra.run.dir",
    "output_dir": "hydra.run.dir",
    "out": "hydra.run.dir",
    "model": "backbone",
    "arch": "backbone",
    "pooling": "method",
    "optim": "optimizer",
    "scheduler": "schedule",
}
# Sections whose options are called as those of others that are meant more often.
SECONDARY = ("second_stage.", "callbacks.")
# Options whose values are words of Lightning's, which writes all of them in small letters.
SMALL_LETTERS = ("trainer.accelerator", "trainer.devices", "trainer.strategy")
# Options whose values are names of a registry.
NAMES = {"switch.to": METHODS}


@dataclasses.dataclass(frozen=True)
class Known:
    """An option as one owner has it.

    Attributes:
        key: its dotted name.
        owner: the name in its group that has it, "taylor"; empty where a section belongs to nobody.
        hint: its type.
        field: its dataclass field, with default, help and range.
    """

    key: str
    owner: str
    hint: Any
    field: dataclasses.Field[Any]

    @property
    def kinds(self) -> tuple[Any, ...]:
        """The types it takes, without None."""
        return tuple(kind for kind in alternatives(self.hint) if kind is not type(None))

    @property
    def optional(self) -> bool:
        """Whether it takes None, ``null`` on the command line."""
        return type(None) in alternatives(self.hint)

    @property
    def choices(self) -> tuple[str, ...]:
        """The words it takes; empty: any value of its type."""
        return self.field.metadata.get("choices") or ()

    @property
    def is_list(self) -> bool:
        """Whether its value is a list."""
        return any(get_origin(kind) is list for kind in self.kinds)

    @property
    def is_word(self) -> bool:
        """Whether any text is a value of its type."""
        return self.kinds == (str,)


def known_options() -> list[Known]:
    """All options, those of plugins too, in the order of the help."""
    return [*_of("", "", RunOptions), *(option for section in sections() for option in section_options(section))]


def section_options(section: str) -> list[Known]:
    """The options of a section, once for every name of its group that has them."""
    if section == "callbacks":
        return [*_of(section, "", CallbackOptions), *(each for name in sections_of_callbacks() for each in inner(name))]
    if section in SECTIONS:
        return list(_of(section, "", SECTIONS[section]))
    group, registry = next((group, registry) for group, (filled, registry) in GROUPS.items() if filled == section)
    added = [(name, ADDED[group]) for name in registry.names() if group in ADDED]
    own = [(name, registry.get(name).options) for name in registry.names()]
    return [option for name, options in [*added, *own] for option in _of(section, name, options)]


def inner(callback: str) -> list[Known]:
    """The options of the section of a callback."""
    section = f"callbacks.{callback}"
    return [*_of(section, "", SwitchedOptions), *_of(section, "", CALLBACKS.get(callback).options)]


def find(key: str) -> list[Known]:
    """The options of that dotted name, one for each owner."""
    return [option for option in known_options() if option.key == key]


def owners(name: str) -> list[str]:
    """Dotted names of the options called ``name``, or what is meant by it."""
    if name in ALIASES:
        return [ALIASES[name]]
    keys = list(dict.fromkeys(option.key for option in known_options() if option.field.name == name))
    return [key for key in keys if not key.startswith(SECONDARY)] or keys


def words_of(key: str) -> list[str]:
    """The words a group or an option chooses from; empty: it takes other values too, or does not exist."""
    if key == "mode":
        return list(MODES)
    if key in NAMES:
        return list(NAMES[key].names())
    if key in GROUPS:
        return list(GROUPS[key][1].names())
    if key in groups():
        return files_of(key)
    return list(dict.fromkeys(str(choice) for option in find(key) for choice in option.choices))


def groups() -> list[str]:
    """Groups of the command line: what a file is chosen from, by ``group=name``."""
    names = dict.fromkeys([*GROUPS, *SECTIONS, *OVERLAYS])
    return [name for name in names if name in GROUPS or (HERE / name).is_dir()]


@cache  # asked for at every argument, and type hints take long to resolve
def _fields(section: str, owner: str, options: Any) -> tuple[Known, ...]:
    prefix, hints = f"{section}." if section else "", get_type_hints(options)
    return tuple(Known(prefix + each.name, owner, hints[each.name], each) for each in dataclasses.fields(options))


def _of(section: str, owner: str, options: Any) -> tuple[Known, ...]:
    return _fields(section, owner, options)
