"""Options as dataclasses: default, help and range of an option stand in one place, free of torch.

The command line's schema is derived from these classes, and so is its help text.
"""

from __future__ import annotations

import dataclasses
import math
import types
from collections.abc import Mapping, Sequence
from operator import ge, gt, le
from typing import Any, TypeVar, Union, get_args, get_origin, get_type_hints

from gcp.errors import OptionError, OptionTypeError
from gcp.registry import nearest

BOUNDS = {"minimum": ("at least", ge), "above": ("greater than", gt), "maximum": ("at most", le)}
LARGEST_INTEGER = 2**31 - 1  # of options without a range of their own; beyond it C code overflows
LARGEST_SEED = 2**32 - 1  # NumPy's

OptionsT = TypeVar("OptionsT", bound="Options")


def option(
    default: Any,
    help: str,
    *,
    minimum: float | None = None,
    maximum: float | None = None,
    above: float | None = None,
    choices: Sequence[Any] | None = None,
) -> Any:
    """A dataclass field with its help text and its range: ``minimum <= value <= maximum``, ``value > above``.

    >>> @dataclasses.dataclass(frozen=True)
    ... class TaylorOptions(Options):
    ...     degree: int = option(100, "degree of the polynomial", minimum=1)
    >>> TaylorOptions(degree=0)
    Traceback (most recent call last):
    gcp.errors.OptionError: degree must be at least 1, got 0
    """
    metadata = {"help": help, "minimum": minimum, "maximum": maximum, "above": above, "choices": choices}
    if isinstance(default, (list, dict)):
        return dataclasses.field(default_factory=lambda: type(default)(default), metadata=metadata)
    return dataclasses.field(default=default, metadata=metadata)


@dataclasses.dataclass(frozen=True)
class Options:
    """Base of every option class: checks types and ranges when built. Raises OptionError."""

    def __post_init__(self) -> None:
        hints = get_type_hints(type(self))
        for field in dataclasses.fields(self):
            _check(field, getattr(self, field.name), hints[field.name])


def make_options(cls: type[OptionsT], values: Mapping[str, Any], owner: str) -> OptionsT:
    """``cls(**values)`` with unknown names refused in a sentence.

    Args:
        cls: the option class.
        values: option names and values.
        owner: whose options these are, for the message: "method 'taylor'".

    >>> from gcp.methods.bilinear import BilinearOptions
    >>> make_options(BilinearOptions, {"epps": 1.0}, "method 'bilinear'")
    Traceback (most recent call last):
    gcp.errors.OptionError: method 'bilinear' has no option 'epps' (did you mean 'eps'?); it takes: vectorisation, eps
    """
    known = option_names(cls)
    for name in values:
        if name not in known:
            takes = ", ".join(known) or "no options"
            raise OptionError(f"{owner} has no option '{name}'{nearest(name, known)}; it takes: {takes}")
    return cls(**values)


def option_names(cls: type[Options]) -> list[str]:
    """Names of the options of a class, in order.

    >>> from gcp.methods.bilinear import BilinearOptions
    >>> option_names(BilinearOptions)
    ['vectorisation', 'eps']
    """
    return [field.name for field in dataclasses.fields(cls)]


def default_of(field: dataclasses.Field[Any]) -> Any:
    """The default of an option.

    >>> from gcp.methods.bilinear import BilinearOptions
    >>> [default_of(field) for field in dataclasses.fields(BilinearOptions)]
    ['upper', 1e-08]
    """
    factory = field.default_factory
    return field.default if isinstance(factory, dataclasses._MISSING_TYPE) else factory()


def range_of(field: dataclasses.Field[Any]) -> str:
    """What an option may be, in words: "at least 1", "one of a, b"; empty where all of its type will do.

    >>> from gcp.methods.bilinear import BilinearOptions
    >>> [range_of(field) for field in dataclasses.fields(BilinearOptions)]
    ['one of upper, isometric, full', 'greater than 0']
    """
    bounds = field.metadata
    if bounds.get("choices") is not None:
        return "one of " + ", ".join(map(str, bounds["choices"]))
    return " and ".join(f"{words} {bounds[key]}" for key, (words, _) in BOUNDS.items() if bounds.get(key) is not None)


def written(value: object) -> str:
    """A value as it is written on the command line.

    >>> written([None, True, 0.5, "relu"])
    '[null,true,0.5,relu]'
    """
    if value is None:
        return "null"
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, (list, tuple)):
        return f"[{','.join(map(written, value))}]"
    return str(value)


def check_options(options: object, base: type[Options] = Options) -> None:
    """Raise OptionTypeError unless ``options`` is an option class, derived from ``base``.

    >>> check_options(dict)
    Traceback (most recent call last):
    gcp.errors.OptionTypeError: options must be a subclass of gcp.options.Options, got <class 'dict'>
    """
    if not (isinstance(options, type) and issubclass(options, base)):
        raise OptionTypeError(f"options must be a subclass of {base.__module__}.{base.__qualname__}, got {options!r}")


def check_type(name: str, value: Any, hint: Any) -> None:
    """Raise OptionTypeError unless ``value`` is of the type ``hint``, or of one of a union: ``int | None``.

    >>> check_type("groups", 1.5, int | None)
    Traceback (most recent call last):
    gcp.errors.OptionTypeError: groups must be an integer or None, got 1.5
    """
    allowed = alternatives(hint)
    if not any(_is_a(value, kind) for kind in allowed):
        expected = " or ".join("None" if kind is type(None) else _type_name(kind) for kind in allowed)
        raise OptionTypeError(f"{name} must be {expected}, got {value!r}")


def _check(field: dataclasses.Field[Any], value: Any, hint: Any) -> None:
    check_type(field.name, value, hint)
    if value is None:
        return
    range_ = field.metadata
    choices = range_.get("choices")
    if choices is not None and value not in choices:
        close = nearest(str(value), map(str, choices))
        raise OptionError(f"{field.name} must be one of {', '.join(map(str, choices))}, got {value!r}{close}")
    for item in value if isinstance(value, list) else [value]:
        if isinstance(item, int) and range_.get("maximum") is None and abs(item) > LARGEST_INTEGER:
            raise OptionError(f"{field.name} must be at most {LARGEST_INTEGER}, got {item}")
        for bound, (words, holds) in BOUNDS.items():
            if isinstance(item, str):
                continue  # of an option that is a number or a word
            if range_.get(bound) is not None and not holds(item, range_[bound]):
                raise OptionError(f"{field.name} must be {words} {range_[bound]}, got {item}")
        if isinstance(item, float) and not math.isfinite(item):
            raise OptionError(f"{field.name} must be a finite number, got {item}")


def alternatives(hint: Any) -> tuple[Any, ...]:
    """The types that a type hint allows: those of a union, or itself.

    >>> alternatives(int | None), alternatives(float)
    ((<class 'int'>, <class 'NoneType'>), (<class 'float'>,))
    """
    return get_args(hint) if get_origin(hint) in (Union, types.UnionType) else (hint,)


def _is_a(value: Any, kind: Any) -> bool:
    if kind is Any:
        return True
    if get_origin(kind) is list:
        return isinstance(value, list) and all(_is_a(item, get_args(kind)[0]) for item in value)
    if get_origin(kind) is dict:
        return isinstance(value, dict)
    if kind in (int, float) and isinstance(value, bool):
        return False
    return isinstance(value, (int, float)) if kind is float else isinstance(value, kind)


def _type_name(kind: Any) -> str:
    names = {int: "an integer", float: "a number", str: "a word", bool: "true or false", Mapping: "a mapping"}
    return names.get(kind, f"a {kind}")
