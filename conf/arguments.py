"""The arguments of the command line as people write them, put into the form Hydra reads. Free of torch.

What can be meant in one way only is understood: ``method=PADE``, ``plugins=my_module``, ``data.root=~/images (new)``.
What cannot is refused in a sentence.
"""

from __future__ import annotations

import re
from typing import NoReturn

from hydra._internal.utils import get_args_parser
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.errors import HydraException

from conf.known import SMALL_LETTERS, find, groups, owners, words_of
from conf.messages import unknown_name, unreadable
from conf.schema import OVERLAYS
from gcp.errors import OptionError
from lightning_modules.settings.sections import GROUPS, sections

_WORD = re.compile(r"[\w./:@%+-]+", re.ASCII)  # what a list may hold without quotes
_LOGGERS = re.compile(r"logger=\[(.*)\]")
PATHS = ("hydra.run.dir", "hydra.sweep.dir")  # Hydra's options that people set, whose values are text


def readable(arguments: list[str]) -> list[str]:
    """``arguments`` in the form Hydra reads.

    Raises OptionError for unknown flags, for deletions, for empty values and for sections in the place of groups.
    """
    parser = get_args_parser()
    parser.error = _refuse  # type: ignore[method-assign]  # its own prints twenty lines of usage
    parsed, unknown = parser.parse_known_args(arguments)
    flags = [argument for argument in unknown if argument.startswith("-")]
    if flags:
        raise OptionError(_unknown_flag(flags[0]))
    if parsed.resolve and not parsed.cfg:
        raise OptionError("--resolve goes with --cfg job, which shows the configuration")
    overrides = {*parsed.overrides, *unknown}  # argparse leaves what follows a flag among the latter
    written = [_override(one, parsed.multirun) for each in arguments if each in overrides for one in _singly(each)]
    return [*written, *(each for each in arguments if each not in overrides)]  # Hydra wants them apart


def _refuse(message: str) -> NoReturn:
    raise OptionError(f"{message}; see --help, and --hydra-help for Hydra's own flags")


def _unknown_flag(flag: str) -> str:
    name, equals, value = flag.lstrip("-").partition("=")
    name = name.replace("-", "_")
    meant = [name] if find(name) or name in groups() else owners(name)
    example = f"{meant[0]}={value if equals else '...'}" if meant else "optimizer.lr=0.1"
    return f"unknown flag {flag}; options are written without dashes, as name=value: {example}"


def _singly(argument: str) -> list[str]:
    """``logger=[wandb,mlflow]`` as one logger with the others beside it; any other argument as it is."""
    found = _LOGGERS.fullmatch(argument)
    if found is None:
        return [argument]
    names = [name.strip() for name in found[1].split(",") if name.strip()]
    unknown = [name for name in names if name not in words_of("logger")]
    if unknown:
        raise OptionError(unknown_name("logger", unknown[0], words_of("logger")))
    first, *others = [name for name in dict.fromkeys(names) if name != "csv"] or ["csv"]  # metrics.csv comes anyway
    return [f"logger={first}", *(f"logger.beside.{name}={{}}" for name in others)]


def _override(argument: str, sweep: bool) -> str:
    """One argument. ``sweep``: commas separate the values of several jobs."""
    key, equals, value = argument.partition("=")
    if key.startswith("~"):
        raise OptionError(f"{argument} would delete what every run needs; set another value, or null for none")
    if equals and not key:
        raise OptionError(unreadable(argument))
    if not equals:
        return argument
    mark = key[: len(key) - len(key.lstrip("+"))]
    name = key[len(mark) :]
    if not value.strip() and name in groups():
        raise OptionError(f"{argument} has no value; available: {', '.join(words_of(name))}")
    if not value.strip():
        raise OptionError(f"{argument} has no value; write {name}=null for none, or leave it out")
    _check_section(name, value)
    return f"{key}={_value(name, value, sweep)}"


def _check_section(name: str, value: str) -> None:
    for group, (section, _) in GROUPS.items():
        if name == f"{section}.name" or (name == section and name != group):
            raise OptionError(f"{name}={value}: the {group} is chosen by {group}={value}")
    if name in sections() and name not in groups():
        raise OptionError(f"{name}={value}: {name} has options, {name}.option=value; see --help {name}")
    if name in groups() and value in ("null", "None") and name not in OVERLAYS:
        raise OptionError(unknown_name(name, value, words_of(name)))


def _value(name: str, value: str, sweep: bool) -> str:
    if value == "None":
        return "null"
    if name in SMALL_LETTERS:
        return value.lower()
    known = find(name)
    if known and all(option.is_list for option in known) and value != "null":
        parts = value.split(",")
        if all(_WORD.fullmatch(part) for part in parts):
            return ",".join(f"[{part}]" for part in parts) if sweep else f"[{value}]"
    words = words_of(name)
    if words:
        by_lower = {word.lower(): word for word in words}
        return ",".join(by_lower.get(part.lower(), part) for part in value.split(","))
    is_text = name in PATHS or (bool(known) and all(option.is_word for option in known))
    if is_text and not sweep and (not _parses(f"{name}={value}") or (name == "path" and "," in value)):
        if value.startswith(("'", '"', "[", "$")):
            return value
        return "'" + value.replace("\\", "\\\\").replace("'", "\\'") + "'"
    return value


def _parses(override: str) -> bool:
    try:
        OverridesParser.create().parse_override(override)
    except HydraException:
        return False
    return True
