"""A spectral map from what users write: a name, a map, or callables."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from typing import Any

from torch import Tensor

from gcp.errors import OptionError
from gcp.registry import nearest
from gcp.spectral.maps.base import MAPS, SpectralMap
from gcp.spectral.maps.custom import Custom

Elementwise = Callable[[Tensor], Tensor]
Pair = tuple[Elementwise, Elementwise] | tuple[Elementwise, Elementwise, Elementwise]


def list_functions() -> list[str]:
    """Names of all spectral functions.

    >>> list_functions()
    ['exp_neg', 'inverse_sqrt', 'log', 'power', 'sqrt']
    """
    return MAPS.names()


def map_options(f: str | SpectralMap | Pair) -> list[str]:
    """Names of the options ``f`` takes beside it: those of the named map; a map or a pair is complete already.

    >>> map_options("log")
    ['eps', 'relative']
    """
    if not isinstance(f, str):
        return ["eps", "relative", "nonnegative"] if isinstance(f, tuple) else []
    return list(inspect.signature(MAPS.get(f)).parameters)


def as_map(f: str | SpectralMap | Pair, options: Mapping[str, Any] | None = None) -> SpectralMap:
    """The map that ``f`` stands for.

    Args:
        f: one of `list_functions()`, a map of `gcp.spectral.maps`, (function, derivative), or these and the second
            derivative.
        options: the named map's own, such as eps or alpha; or a pair's `Custom` ones.

    Raises:
        UnknownNameError: no such name; the message has the nearest one.
        OptionError: ``f`` is none of the three, or an option the map does not have, lacks, or has out of range.

    >>> as_map("log", {"eps": 1e-3})
    Log(eps=0.001, relative=True)
    """
    options = dict(options or {})
    known = map_options(f) if isinstance(f, (str, tuple)) else []
    for name in options:
        if name not in known:
            takes = ", ".join(known) or "no options here"
            raise OptionError(f"function {f!r} has no option '{name}'{nearest(name, known)}; it takes: {takes}")
    if isinstance(f, SpectralMap):
        return f
    if isinstance(f, str):
        cls = MAPS.get(f)
        required = [p.name for p in inspect.signature(cls).parameters.values() if p.default is p.empty]
        missing = [name for name in required if name not in options]
        if missing:
            raise OptionError(f"spectral function '{f}' needs {', '.join(missing)}, such as {f}({missing[0]}=0.5)")
        return cls(**options)
    if isinstance(f, tuple) and len(f) in (2, 3) and all(callable(part) for part in f):
        return Custom(*f[:2], curvature=f[2] if len(f) == 3 else None, **options)
    raise OptionError(
        f"f must be one of {', '.join(MAPS.names())}, a map of gcp.spectral.maps, or a pair of callables "
        f"(function, derivative), with the second derivative as a third if autograd cannot find it; got {f!r}"
    )
