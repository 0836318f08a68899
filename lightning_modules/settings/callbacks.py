"""Callbacks by name, and which of them a configuration asks for. Free of torch.

A callback of one's own::

    register_callback("mine", MineOptions, "my_module:build", "what it does")

where ``build(run, options)`` gives a Lightning callback, or None where its options leave nothing to do.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from gcp.errors import OptionError
from gcp.options import Options, check_options, check_type, option_names
from gcp.registry import Registry, check_target
from lightning_modules.settings.callback_options import (
    CallbackOptions,
    DeviceStatsOptions,
    EarlyStoppingOptions,
    SWAOptions,
    SwitchedOptions,
    ThroughputOptions,
)
from lightning_modules.settings.entry import Entry
from lightning_modules.settings.section import make_section

ENABLED = "enabled"
SWITCH = "on as soon as one of its options is set, or enabled=true; off again by enabled=false"


@dataclass(frozen=True)
class CallbackEntry(Entry):
    """A named callback; ``build`` takes the run and its options.

    Attributes:
        modes: modes of run.py that it is for, "fit" and "test".
        watches: whether a run comes to the same weights without it.
    """

    modes: tuple[str, ...] = ("fit",)
    watches: bool = False

    @property
    def has_section(self) -> bool:
        """Whether its options are ``callbacks.NAME.option``; else they stand among those of `CallbackOptions`."""
        return self.options is not CallbackOptions


CALLBACKS: Registry[CallbackEntry] = Registry("callback")


def register_callback(
    name: str,
    options: type[Options],
    build: str | Callable[..., Any],
    summary: str,
    modes: tuple[str, ...] = ("fit",),
    watches: bool = False,
) -> None:
    """Add a callback, whose options are ``callbacks.NAME.option``.

    What its property ``summary_entries`` holds, if it has one, is written into ``summary.json`` after training.

    Args:
        name: the section of its options.
        options: its option class.
        build: takes ``(run, options)`` and gives a Lightning callback or None, or "package.module:attribute" of it.
        summary: what it does, a line for the help.
        modes: modes of run.py that it is for, "fit" and "test".
        watches: whether a run comes to the same weights without it, so that reports may average over both.

    Raises:
        OptionError: the name is taken; OptionTypeError where an argument is of a wrong type.
    """
    check_type("summary", summary, str)
    check_options(options)
    check_target("build", build)
    if name in option_names(CallbackOptions):
        raise OptionError(f"'{name}' is an option of the section callbacks; choose another name for the callback")
    if ENABLED in option_names(options):
        raise OptionError(f"the callback '{name}' must not have an option '{ENABLED}': every callback has one anyway")
    CALLBACKS.register(name, CallbackEntry(name, options, build, summary, tuple(modes), watches))


def sections_of_callbacks() -> list[str]:
    """Names of the callbacks that have a section of their own."""
    return [name for name in CALLBACKS.names() if CALLBACKS.get(name).has_section]


def own_options(section: Mapping[str, Any]) -> CallbackOptions:
    """The options of the section ``callbacks`` itself. Raises OptionError, with the full name."""
    values = {name: value for name, value in section.items() if name not in sections_of_callbacks()}
    known = [*option_names(CallbackOptions), *sections_of_callbacks()]
    return make_section(CallbackOptions, values, "callbacks", known)


def options_of_callback(section: Mapping[str, Any], name: str) -> Options | None:
    """Options of the callback ``name`` in the section ``callbacks``; None: it is off.

    It is on if ``enabled`` says so, or if it says nothing and an option is set. Raises OptionError, with the full name.
    """
    entry = CALLBACKS.get(name)
    if not entry.has_section:
        return own_options(section)
    given = section.get(name) or {}
    if not isinstance(given, Mapping):
        raise OptionError(f"callbacks.{name}: options are set one by one, callbacks.{name}.option=value, got {given}")
    values = dict(given)
    known = [ENABLED, *option_names(entry.options)]
    switch = {key: values.pop(key) for key in [ENABLED] if key in values}
    switched = make_section(SwitchedOptions, switch, f"callbacks.{name}")
    options = make_section(entry.options, values, f"callbacks.{name}", known)
    return options if (bool(values) if switched.enabled is None else switched.enabled) else None


def completed(section: Mapping[str, Any]) -> dict[str, Any]:
    """The section ``callbacks`` with all options of the callbacks that are on; raises OptionError as above."""
    complete = {**section, **dataclasses.asdict(own_options(section))}
    for name in sections_of_callbacks():
        options = options_of_callback(section, name)
        if options is not None:
            complete[name] = {ENABLED: True, **dataclasses.asdict(options)}
    return complete


_MODULE = "lightning_modules.callbacks"
_OWN = CallbackOptions

register_callback(
    "swa",
    SWAOptions,
    f"{_MODULE}.swa:build",
    "stochastic weight averaging: the mean of the last epochs' weights is validated, tested and kept",
)  # before those that log the learning rate
CALLBACKS.register(
    "learning_rate",
    CallbackEntry("learning_rate", _OWN, f"{_MODULE}.monitors:learning_rate", "the learning rates", watches=True),
)
CALLBACKS.register(
    "spectrum",
    CallbackEntry("spectrum", _OWN, f"{_MODULE}.spectrum_monitor:build", "what the pooling layer does", watches=True),
)
CALLBACKS.register(
    "confusion",
    CallbackEntry("confusion", _OWN, f"{_MODULE}.confusion:build", "mistakes by class", ("fit", "test"), watches=True),
)
register_callback(
    "early_stopping",
    EarlyStoppingOptions,
    f"{_MODULE}.early_stopping:build",
    "stop when a metric no longer improves",
)
CALLBACKS.register(
    "pruning",
    CallbackEntry("pruning", _OWN, f"{_MODULE}.pruning:build", "trials of a search that fall behind stop"),
)
register_callback(
    "device_stats",
    DeviceStatsOptions,
    f"{_MODULE}.monitors:device_stats",
    "Lightning's DeviceStatsMonitor: memory of the GPU, load of the machine",
    watches=True,
)
register_callback(
    "throughput",
    ThroughputOptions,
    f"{_MODULE}.monitors:throughput",
    "Lightning's ThroughputMonitor: batches and images per second",
    watches=True,
)
