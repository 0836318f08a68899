"""One sentence for what Hydra and OmegaConf refuse: what was wrong, what was found, what to do."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Iterable
from typing import Any

from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.errors import HydraException, OverrideParseException
from omegaconf.errors import ConfigAttributeError, ConfigKeyError, OmegaConfBaseException, ValidationError

from conf.known import find, groups, owners, words_of
from conf.values import takes
from gcp.errors import GCPError, first_line
from gcp.options import option_names
from gcp.registry import nearest
from lightning_modules.run.storage import chain, storage_error
from lightning_modules.run.unexpected import described
from lightning_modules.settings.section import unknown_option as unknown_in_section
from lightning_modules.settings.sections import GROUPS, RunOptions, sections

# Hydra's launchers that are packages of their own: our name for each, and the extra that installs it.
LAUNCHER_EXTRAS = {
    "joblib": ("joblib", "joblib"),
    "submitit_slurm": ("slurm", "slurm"),
    "submitit_local": ("submitit_local", "slurm"),
}
_MISSING = re.compile(r"Could not find '([\w@/]+)/([^'/]*)'\s*(?:Available options in '[^']*':\s*)?(.*)", re.S)
_NO_GROUP = re.compile(r"Could not override '([\w@/.]+)'.\s*No match in the defaults list")
_SEVERAL = re.compile(r"Ambiguous value for argument '(.*)'\n")


def message(error: BaseException) -> str:
    """What a person is shown for an error that ends the command."""
    if isinstance(error, (GCPError, HydraException, OmegaConfBaseException)):
        return sentence(error)
    problem = storage_error(error)
    return str(problem) if problem else f"{described(error)}; HYDRA_FULL_ERROR=1 shows the trace"


def sentence(error: BaseException) -> str:
    """The sentence a person is shown for an error of the command line."""
    links = _links(error)
    for link in links:
        if isinstance(link, (ConfigKeyError, ConfigAttributeError)) and link.full_key:
            kind: Any = link.object_type
            known = [field.name for field in dataclasses.fields(kind)] if _is_schema(kind) else []
            return unknown_option(str(link.full_key), known)
        if isinstance(link, ValidationError) and link.full_key:
            return _wrong_value(str(link.full_key), first_line(link))
    for link in links:
        missing = _MISSING.search(str(link))
        if missing:
            group, name, listing = missing.groups()
            if group == "hydra/launcher" and name in LAUNCHER_EXTRAS:
                extra = LAUNCHER_EXTRAS[name]
                return f"launcher={extra[0]} is not installed; install it with: pip install '.[{extra[1]}]'"
            names = [line.strip() for line in listing.split("\n") if line.strip() and ":" not in line]
            return unknown_name(group, name, names)
        override = _NO_GROUP.search(str(link))
        if override:
            return _unknown_group(override.group(1))
        several = _SEVERAL.search(str(link))
        if several:
            return several_values(several.group(1))
        if isinstance(link, OverrideParseException):
            return unreadable(str(link.override))
    return first_line(links[0])


def unknown_name(group: str, name: str, names: Iterable[str]) -> str:
    """The sentence for a name that ``group`` does not have."""
    return f"unknown {group} '{name}'{nearest(name, names)}; available: {', '.join(names)}"


def unknown_option(full_key: str, known: Iterable[str] = ()) -> str:
    """The sentence for an option that does not exist.

    Args:
        full_key: its dotted name as it was given.
        known: what its section takes.
    """
    section, _, key = full_key.rpartition(".")
    if not section:
        meant = owners(key)
        if meant:
            return f"unknown option {key}; write {' or '.join(f'{each}=...' for each in meant)}"
        return _unknown_group(key)
    text = unknown_in_section(full_key, known)
    elsewhere = _owners(section, key)
    return f"{text} ({key} is an option of {', '.join(elsewhere)})" if elsewhere else text


def several_values(argument: str) -> str:
    """The sentence for ``key=a,b`` without ``-m``."""
    key, _, values = argument.partition("=")
    known = find(key)
    if known and all(option.is_list for option in known):
        return f"{argument} is not a list; write {key}=[{values}]"
    return f"{argument} has several values; to run each of them, add -m: python run.py -m {argument}"


def unreadable(argument: str) -> str:
    """The sentence for an argument that Hydra cannot read."""
    key, equals, value = argument.partition("=")
    key = key.strip()
    if not equals:
        if key in ("help", "h"):
            return "cannot read the argument 'help'; write --help, or --help method for one group"
        chosen = next((group for group in ("mode", *groups()) if key.lower() in words_of(group)), None)
        meant = f"write {chosen}={key.lower()}" if chosen else _usage()
        return f"cannot read the argument '{argument}'; {meant}"
    if not key or not value.strip():
        return f"cannot read the argument '{argument}'; write name=value without spaces around the ="
    quoted = value.replace("'", "\\'")
    remedy = f"{key}='{quoted}'"
    try:
        OverridesParser.create().parse_override(remedy)
    except HydraException:
        return f"cannot read the argument '{argument}'; {_usage()}"
    return (
        f"cannot read the argument '{argument}'; put a value with characters like ~ ( ) = or accents in quotes, "
        f'and those in quotes of the shell: "{remedy}"'
    )


def _usage() -> str:
    return "arguments are group=name or section.option=value, see --help"


def _wrong_value(key: str, reason: str) -> str:
    text = f"{key}: {reason.rstrip('.')}"
    if key in sections():
        return f"{text}; options are set one by one, {key}.option=value, see --help {key}"
    known = list(dict.fromkeys(takes(option) for option in find(key.partition("[")[0])))
    return f"{text}; it takes {' or '.join(known)}" if known else text


def _links(error: BaseException) -> list[BaseException]:
    kinds = (HydraException, OmegaConfBaseException)
    return [link for link in chain(error) if isinstance(link, kinds)] or [error]


def _unknown_group(name: str) -> str:
    meant = owners(name)
    if meant:
        return unknown_option(name)
    filled = [group for group, (section, _) in GROUPS.items() if section == name and group != name]
    if filled:
        return f"the {name} are chosen by {filled[0]}=..., their options are {name}.option=value"
    known = [*groups(), *option_names(RunOptions)]
    return f"unknown option {name}{nearest(name, known)}; groups: {', '.join(groups())}; see --help for all options"


def _owners(section: str, key: str) -> list[str]:
    """Names of the same group that do have the option."""
    return list(dict.fromkeys(option.owner for option in find(f"{section}.{key}") if option.owner))


def _is_schema(kind: object) -> bool:
    return isinstance(kind, type) and dataclasses.is_dataclass(kind)
