"""What a layer or a backbone has to be, checked where one is built: it may come from a plugin."""

from __future__ import annotations

from collections.abc import Callable
from inspect import signature
from typing import Any

from torch import nn

from gcp.errors import PluginError
from gcp.registry import resolve


def built_by(build: str | Callable[..., Any], what: str, size: str, *arguments: Any) -> nn.Module:
    """``build(*arguments)``, a module with the number ``size``.

    Args:
        build: what was registered.
        what: its name in messages: "backbone 'mine'".
        size: the attribute with the number of channels or features it gives.
        arguments: of ``build``.

    Raises:
        PluginError: it takes other arguments, or gives no module, or one without ``size``.
    """
    builder = resolve(build)
    try:
        signature(builder).bind(*arguments)
    except TypeError as error:
        given = ", ".join(type(argument).__name__ for argument in arguments)
        raise PluginError(f"the {what} is built from ({given}), which its builder does not take: {error}") from None
    module = builder(*arguments)
    if not isinstance(module, nn.Module):
        raise PluginError(f"the {what} must be an nn.Module, its builder gave {type(module).__name__}")
    size_of(module, size, what)
    return module


def size_of(module: nn.Module, size: str, what: str = "module") -> int:
    """The number ``size`` of a module, called ``what`` in messages. Raises PluginError if it has no such number.

    >>> size_of(nn.Linear(3, 2), "out_features")
    2
    """
    number = getattr(module, size, None)
    if not isinstance(number, int):
        raise PluginError(f"the {what} must have the attribute {size}, a whole number, it has {number}")
    return number
