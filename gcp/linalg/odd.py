"""Odd functions of singular values: names, or a function with its derivative."""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from typing import Any

from gcp.errors import OptionError
from gcp.registry import Registry, nearest
from gcp.spectral.maps import Custom, Power, SpectralMap, SquareRoot
from gcp.spectral.maps.lookup import Pair
from gcp.spectral.maps.soft_threshold import SoftThreshold

ODD: Registry[type[SpectralMap]] = Registry("odd function")
for _map in (Power, SoftThreshold, SquareRoot):
    ODD.register(_map.name, _map)

# Odd functions vanish at 0 as they are: nothing keeps singular values away from it.
_NOT_ODD = ("eps", "relative", "positive", "nonnegative")


def as_odd(f: str | SpectralMap | Pair, options: Mapping[str, Any]) -> SpectralMap:
    """The map on s >= 0 whose odd continuation ``f`` stands for; ``options`` are the named map's own.

    Raises:
        UnknownNameError: no such name; the message has the nearest one.
        OptionError: ``f`` is none of the three or is not 0 at 0, or an option is out of place, missing or out of range.

    >>> as_odd("soft_threshold", {"threshold": 0.5})
    SoftThreshold(threshold=0.5)
    """
    cls = ODD.get(f) if isinstance(f, str) else None
    parameters = {} if cls is None else inspect.signature(cls).parameters
    known = [name for name in parameters if name not in _NOT_ODD]
    for name in options:
        if name not in known:
            takes = ", ".join(known) or "no options"
            raise OptionError(f"function {f!r} has no option '{name}'{nearest(name, known)}; it takes: {takes}")
    missing = [name for name in known if name not in options]
    if missing:
        raise OptionError(f"function {f!r} needs {', '.join(missing)}, such as {missing[0]}=0.5")
    if cls is not None:
        function = cls(**options)
    elif isinstance(f, SpectralMap):
        function = f
    elif isinstance(f, tuple) and len(f) == 2 and all(callable(part) for part in f):
        function = Custom(function=f[0], slope=f[1], nonnegative=True)
    else:
        raise OptionError(
            f"f must be one of {', '.join(ODD.names())}, a map of gcp.spectral.maps, or a pair of callables "
            f"(function, derivative); got {f!r}"
        )
    if not function.vanishes_at_zero:
        raise OptionError(
            f"an odd function is 0 at 0, where {function.name} is {function.at_zero:g}: singular vectors of null "
            "singular values are arbitrary"
        )
    return function
