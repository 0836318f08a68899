"""What an option takes, in words: "a number greater than 0, or null". Free of torch."""

from __future__ import annotations

import types
from typing import Any, Union, get_args, get_origin

from conf.known import Known
from gcp.options import range_of

_ONE = {int: "an integer", float: "a number", str: "text", bool: "true or false"}
_MANY = {int: "integers", float: "numbers", str: "words"}


def takes(option: Known) -> str:
    """Type and range of ``option``."""
    range_ = range_of(option.field)
    text = range_ if option.choices else ", ".join(filter(None, [" or ".join(map(_kind, option.kinds)), range_]))
    return f"{text}, or null" if _optional(option.hint) else text


def shown(value: Any) -> str:
    """A default as it is written on the command line."""
    if value is None:
        return "null"
    if isinstance(value, list):
        return f"[{','.join(map(str, value))}]"
    return str(value).lower() if isinstance(value, bool) else str(value)


def _kind(kind: Any) -> str:
    if get_origin(kind) is list:
        return f"a list of {_MANY[get_args(kind)[0]]}"
    if get_origin(kind) is dict:
        return "names and values"
    return _ONE.get(kind, getattr(kind, "__name__", str(kind)))


def _optional(hint: Any) -> bool:
    return get_origin(hint) in (Union, types.UnionType) and type(None) in get_args(hint)
