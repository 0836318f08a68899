"""The typed schema of the command line, derived from the option classes of what the registries hold. Free of torch."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Mapping
from functools import lru_cache
from pathlib import Path
from types import MappingProxyType
from typing import Any, get_origin, get_type_hints

from hydra.core.config_store import ConfigStore
from omegaconf import MISSING, DictConfig, OmegaConf

from gcp.options import Options, default_of
from lightning_modules.settings.callbacks import sections_of_callbacks
from lightning_modules.settings.sections import ADDED, GROUPS, SECTIONS, RunOptions, sections

HERE = Path(__file__).parent
# Options that take another's value unless set, by group and name.
INTERPOLATED = {("dataset", "seed"): "${seed}"}
# Groups whose files set options of several sections, on top of the others, and what they are for.
OVERLAYS = {
    "recipe": "whole experiments",
    "sweep": "several runs",
    "debug": "short runs that find mistakes",
    "launcher": "where the jobs of a sweep run",
}


def register() -> None:
    """Store the schema of every registered name; call again after a plugin has added some.

    A name without a YAML of its own, as a plugin's, becomes an option of its group too.
    """
    entries = ((group, name) for group, (_, registry) in GROUPS.items() for name in registry.names())
    _store(tuple((group, name, GROUPS[group][1].get(name)) for group, name in entries), tuple(sections_of_callbacks()))


@lru_cache(maxsize=1)  # what is stored already is not stored again
def _store(entries: tuple[tuple[str, str, Any], ...], callbacks: tuple[str, ...]) -> None:
    """Entries as (group, name, what is registered)."""
    store = ConfigStore.instance()
    store.store(group="_schema", name="run", node=schema_of(RunOptions, **dict.fromkeys(sections(), MISSING)))
    for group, name, entry in entries:
        extra = {"name": name, **added_options(group, entry)}
        interpolated = {key: text for (place, key), text in INTERPOLATED.items() if place == group}
        node = schema_of(entry.options, interpolated, **extra)
        store.store(group=f"_schema/{group}", name=name, node=node)
        if not (HERE / group / f"{name}.yaml").exists():
            store.store(group=group, name=name, node=node, package=GROUPS[group][0])
    for section, options in SECTIONS.items():
        inner = callbacks if section == "callbacks" else ()
        store.store(group=f"_schema/{section}", name="default", node=schema_of(options, inner=inner))


def added_options(group: str, entry: Any) -> dict[str, Any]:
    """The options of ADDED that a group's entry has, with their defaults."""
    if group == "method":
        return {"reduced_channels": entry.reduced_channels}
    return {field.name: default_of(field) for field in dataclasses.fields(ADDED[group])} if group in ADDED else {}


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
    fields: list[Any] = []
    for name, value in extra.items():
        given: dict[str, Any] = {"default_factory": _open} if isinstance(value, dict) else {"default": value}
        fields.append((name, _type_of(name, value), dataclasses.field(**given)))
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


def files_of(group: str) -> list[str]:
    """Names of the files of a group."""
    return sorted(path.stem for path in (HERE / group).glob("*.yaml"))


def _open() -> DictConfig:
    """An empty mapping that takes any key, where the rest of the configuration takes known ones only."""
    return OmegaConf.create({}, flags={"struct": False})


def _type_of(name: str, value: Any) -> Any:
    if value == MISSING:
        return Any
    added = {key: hint for options in ADDED.values() for key, hint in get_type_hints(options).items()}
    return added.get(name, str)
