"""Names and what they stand for: one registry each for methods, backbones and datasets."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from difflib import get_close_matches
from importlib import import_module
from typing import Any, Generic, TypeVar

from gcp.errors import OptionError, OptionTypeError, PluginError, UnknownNameError

T = TypeVar("T")


def nearest(name: str, names: Iterable[str]) -> str:
    """ " (did you mean 'X'?)" for the name in ``names`` closest to ``name``, else an empty string.

    >>> nearest("tailor", ["pade", "taylor"])
    " (did you mean 'taylor'?)"
    """
    close = get_close_matches(name, list(names), n=1, cutoff=0.5)
    return f" (did you mean '{close[0]}'?)" if close else ""


def resolve(target: str | Callable[..., Any] | None) -> Any:
    """The object behind ``"package.module:attribute"``, imported when it is needed; anything else as it is.

    >>> resolve("math:sqrt")(4)
    2.0
    """
    if not isinstance(target, str):
        return target
    module, _, attribute = target.partition(":")
    try:
        return getattr(import_module(module), attribute)
    except ModuleNotFoundError as error:
        if error.name is None or not f"{module}.".startswith(f"{error.name}."):
            raise  # something that the module needs
        reason = str(error)
    except AttributeError as error:
        reason = str(error)
    raise PluginError(f"there is no '{target}', registered as \"package.module:attribute\": {reason}")


def check_target(name: str, target: object, optional: bool = False) -> None:
    """Raise OptionTypeError unless ``target`` is what `resolve` takes, or ``optional`` and None.

    >>> check_target("kernel", 3)
    Traceback (most recent call last):
    gcp.errors.OptionTypeError: kernel must be a callable or 'package.module:attribute', got 3
    """
    if not (callable(target) or (isinstance(target, str) and ":" in target) or (optional and target is None)):
        raise OptionTypeError(f"{name} must be a callable or 'package.module:attribute', got {target!r}")


class Registry(Generic[T]):
    """A table of named entries that says what it holds when asked for something else.

    Args:
        kind: what the entries are, for messages: "method", "backbone", "dataset".
    """

    def __init__(self, kind: str) -> None:
        self.kind = kind
        self._entries: dict[str, T] = {}

    def register(self, name: str, entry: T) -> T:
        """Add ``entry`` under ``name``. Raises OptionError if that is no word, or taken by another entry."""
        if not isinstance(name, str):
            raise OptionTypeError(f"the name of a {self.kind} must be a word, got {name!r}")
        if self._entries.get(name, entry) != entry:
            raise OptionError(f"the {self.kind} '{name}' is registered already; choose another name")
        self._entries[name] = entry
        return entry

    def get(self, name: str) -> T:
        """The entry of that name.

        Raises:
            UnknownNameError: none of that name; the message has the nearest one and the whole list.
            OptionTypeError: ``name`` is no word.
        """
        if not isinstance(name, str):
            raise OptionTypeError(f"a {self.kind} is chosen by its name, got {name!r}")
        try:
            return self._entries[name]
        except KeyError:
            raise UnknownNameError(
                f"unknown {self.kind} '{name}'{nearest(name, self._entries)}; available: {', '.join(self.names())}"
            ) from None

    def names(self) -> list[str]:
        """All names, in the order they were registered."""
        return list(self._entries)

    def __contains__(self, name: object) -> bool:
        return name in self._entries


class Names(Sequence[str]):
    """The names of the entries that ``fit``, whenever they are asked for: what is registered later is among them."""

    def __init__(self, registry: Registry[T], fit: Callable[[T], bool]) -> None:
        self._registry: Registry[Any] = registry
        self._fit: Callable[[Any], bool] = fit

    def __getitem__(self, index: Any) -> Any:
        return [name for name in self._registry.names() if self._fit(self._registry.get(name))][index]

    def __len__(self) -> int:
        return len(self[:])
