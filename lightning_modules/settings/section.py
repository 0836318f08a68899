"""A section of the configuration into its option class; errors give the full names of options. Free of torch."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any

from gcp.errors import OptionError
from gcp.options import OptionsT, make_options, option_names
from gcp.registry import nearest


def unknown_option(full_key: str, known: Iterable[str]) -> str:
    """The sentence for an option that its section, which takes ``known``, does not have."""
    section, _, key = full_key.rpartition(".")
    takes = [name for name in known if name != "name"]
    text = f"unknown option {full_key}{nearest(key, takes)}"
    return f"{text}; {section} takes: {', '.join(takes)}" if takes else text


def make_section(
    options: type[OptionsT],
    values: Mapping[str, Any],
    section: str,
    known: Iterable[str] | None = None,
    refusal: Callable[[str, list[str]], str] = unknown_option,
) -> OptionsT:
    """``options(**values)``.

    Args:
        options: the option class.
        values: option names and values.
        section: what the names of its options begin with, "callbacks.swa"; empty: nothing.
        known: what the section takes, for messages; None: the options of the class.
        refusal: the sentence for an option that is none, of its full name and what is known.

    Raises:
        OptionError: with the full name of the option, "callbacks.swa.rate".
    """
    prefix = f"{section}." if section else ""
    takes = option_names(options) if known is None else list(known)
    for name in values:
        if name not in takes:
            raise OptionError(refusal(f"{prefix}{name}", takes))
    try:
        return make_options(options, values, section)
    except OptionError as error:
        raise OptionError(f"{prefix}{error}") from None
