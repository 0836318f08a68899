"""One sentence for what Hydra and OmegaConf refuse: what was wrong, what was found, what to do."""

from __future__ import annotations

import dataclasses
import re

from hydra.errors import HydraException, OverrideParseException
from omegaconf.errors import ConfigAttributeError, ConfigKeyError, OmegaConfBaseException, ValidationError

from conf.schema import GROUPS
from gcp.options import option_names
from gcp.registry import nearest

# Hydra's launchers that are packages of their own: our name for each, and the extra that installs it.
LAUNCHER_EXTRAS = {
    "joblib": ("joblib", "joblib"),
    "submitit_slurm": ("slurm", "slurm"),
    "submitit_local": ("submitit_local", "slurm"),
}
_MISSING = re.compile(r"Could not find '([\w@/]+)/([^'/]+)'\s*(?:Available options in '[^']*':\s*)?(.*)", re.S)
_NO_GROUP = re.compile(r"Could not override '([\w@/.]+)'.\s*No match in the defaults list")


def sentence(error: BaseException) -> str:
    """The sentence a person is shown for an error of the command line."""
    chain = _chain(error)
    for link in chain:
        if isinstance(link, (ConfigKeyError, ConfigAttributeError)) and link.full_key:
            return _unknown_key(link)
        if isinstance(link, ValidationError) and link.full_key:
            return f"{link.full_key}: {_first_line(link)}"
    for link in chain:
        missing = _MISSING.search(str(link))
        if missing:
            group, name, listing = missing.groups()
            if group == "hydra/launcher" and name in LAUNCHER_EXTRAS:
                extra = LAUNCHER_EXTRAS[name]
                return f"launcher={extra[0]} is not installed; install it with: pip install '.[{extra[1]}]'"
            names = [line.strip() for line in listing.split("\n") if line.strip() and ":" not in line]
            return f"unknown {group} '{name}'{nearest(name, names)}; available: {', '.join(names)}"
        override = _NO_GROUP.search(str(link))
        if override:
            return _unknown_group(override.group(1))
        if isinstance(link, OverrideParseException):
            return f"cannot read the argument '{link.override}'; arguments are group=name or section.option=value"
    return _first_line(chain[0])


def _chain(error: BaseException) -> list[BaseException]:
    chain = [error]
    while (cause := chain[-1].__cause__ or chain[-1].__context__) is not None and cause not in chain:
        chain.append(cause)
    return [link for link in chain if isinstance(link, (HydraException, OmegaConfBaseException))] or [error]


def _unknown_key(error: OmegaConfBaseException) -> str:
    full_key = str(error.full_key)
    section, _, key = full_key.rpartition(".")
    known = [field.name for field in dataclasses.fields(error.object_type)] if _is_schema(error.object_type) else []
    text = f"unknown option {full_key}{nearest(key, known)}"
    if known:
        text += f"; {section or 'the command line'} takes: {', '.join(name for name in known if name != 'name')}"
    owners = _owners(section, key)
    return f"{text} ({key} is an option of {', '.join(owners)})" if owners else text


def _unknown_group(name: str) -> str:
    return f"unknown group or option '{name}'{nearest(name, GROUPS)}; groups: {', '.join(GROUPS)}; see --help"


def _owners(section: str, key: str) -> list[str]:
    """Names of the same group that do have the option."""
    registries = [registry for filled, registry in GROUPS.values() if filled == section]
    return [
        name for registry in registries for name in registry.names() if key in option_names(registry.get(name).options)
    ]


def _is_schema(kind: object) -> bool:
    return isinstance(kind, type) and dataclasses.is_dataclass(kind)


def _first_line(error: BaseException) -> str:
    return str(error).strip().split("\n")[0]
