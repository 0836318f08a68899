"""What an option takes, in words: "a number greater than 0, or null". Free of torch."""

from __future__ import annotations

from typing import Any, get_args, get_origin

from conf.known import Known
from gcp.options import range_of

_ONE = {int: "an integer", float: "a number", str: "text", bool: "true or false", Any: "text or a list"}
_MANY = {int: "integers", float: "numbers", str: "words"}


def takes(option: Known) -> str:
    """Type and range of ``option``."""
    range_ = range_of(option.field)
    text = range_ if option.choices else ", ".join(filter(None, [" or ".join(map(_kind, option.kinds)), range_]))
    return f"{text}, or null" if option.optional else text


def _kind(kind: Any) -> str:
    if get_origin(kind) is list:
        return f"a list of {_MANY[get_args(kind)[0]]}"
    if get_origin(kind) is dict:
        return "names and values"
    return _ONE.get(kind, getattr(kind, "__name__", str(kind)))
