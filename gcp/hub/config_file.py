"""``config.json``: what a network is built from and what is known of it, read without trust in who wrote it."""

from __future__ import annotations

import json
from dataclasses import MISSING, fields
from pathlib import Path
from typing import Any, get_type_hints

from gcp.errors import CheckpointError, GCPError, OptionError
from gcp.hub.files import CONFIG, FORMAT, VERSION
from gcp.network_config import NetworkConfig
from gcp.options import check_type

LARGEST = 2**24  # bytes; the names of all classes of ImageNet-21k take a thirtieth
FACTS = ("preprocessing", "data", "metrics")


def write_config(path: Path, network: NetworkConfig, facts: dict[str, Any]) -> None:
    """Write ``config.json``.

    Raises OptionError for what JSON cannot hold. ``facts`` are those `check_facts` takes.
    """
    contents = {
        "format": FORMAT,
        "format_version": VERSION,
        "network": network.plain(),
        **facts,
    }
    try:
        text = json.dumps(contents, indent=2, allow_nan=False)
    except (TypeError, ValueError) as error:
        raise OptionError(f"{CONFIG} cannot hold all of the network's options and facts: {error}") from None
    path.write_text(text + "\n", encoding="utf-8")


def check_facts(facts: object) -> None:
    """Raise OptionError unless ``facts`` is a dictionary of some of FACTS, each a dictionary."""
    check_type("facts", facts, dict[str, Any])
    assert isinstance(facts, dict)
    for name, value in facts.items():
        if name not in FACTS:
            raise OptionError(f"facts are {', '.join(FACTS)}, got {name!a}")
        check_type(name, value, dict[str, Any])


def read_config(path: Path) -> tuple[NetworkConfig, dict[str, Any]]:
    """What the network is built from, and the facts.

    Nothing in it names a file or a module that would be read: a network's weights are those beside it.

    Raises CheckpointError: missing, damaged, of a later version, or not of the form of `write_config`.
    """
    contents = _read(path)
    if contents.get("format") != FORMAT:
        raise CheckpointError(f'{path} does not describe a network of this project: it has no "format": "{FORMAT}"')
    version = contents.get("format_version")
    if not isinstance(version, int) or version > VERSION:
        raise CheckpointError(f"{path} was written by a later version of this project; install that")
    try:
        foreign = sorted(set(contents) - {"format", "format_version", "network", *FACTS})
        if foreign:
            raise OptionError(f"it has {foreign[0]!a}, which means nothing here")
        facts = {name: contents[name] for name in FACTS if name in contents}
        check_facts(facts)
        return _network(contents.get("network")), facts
    except GCPError as error:
        raise CheckpointError(f"{path} is not what gcp writes: {' '.join(str(error).split())}") from None


def _read(path: Path) -> dict[str, Any]:
    if not path.is_file():
        raise CheckpointError(f"there is no file {path}")
    try:
        if path.stat().st_size > LARGEST:
            raise CheckpointError(f"{path} is larger than {LARGEST:,} bytes, which no description of a network is")
        contents = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise CheckpointError(f"{path} is no readable JSON ({' '.join(str(error).split())})") from None
    if not isinstance(contents, dict):
        raise CheckpointError(f"{path} is not what gcp writes: it holds a {type(contents).__name__}")
    return contents


def _network(given: object) -> NetworkConfig:
    check_type("network", given, dict[str, Any])
    assert isinstance(given, dict)
    known = {field.name: field for field in fields(NetworkConfig)}
    for name in given:
        if name not in known:
            raise OptionError(f"the network has {name!a}, which means nothing here")
    hints = get_type_hints(NetworkConfig)
    for name, field in known.items():
        if name in given:
            check_type(name, given[name], hints[name])
        elif field.default is MISSING and field.default_factory is MISSING:
            raise OptionError(f"the network has no {name}")
    if given.get("backbone_options", {}).get("weights") is not None:
        raise OptionError("its backbone_options name weights, which are beside it and nowhere else")
    return NetworkConfig(**given)
