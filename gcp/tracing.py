"""What a program is made of before it has a tensor, options, methods, functions: out of the compiler's sight."""

from __future__ import annotations

import functools
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import ParamSpec, TypeVar

import torch

P = ParamSpec("P")
T = TypeVar("T")


class _Made:
    """What was made while compiling, each an attribute: of these the compiler reads one without the others."""


_MADE = _Made()


def constant(make: Callable[P, T]) -> Callable[P, T]:
    """``make``, of arguments that are constants of a program, run as it is while torch.compile traces around it.

    Of what is computed out of its sight the compiler takes words alone; so a word comes back and stands for the object.

    >>> @constant
    ... def made(name, factor):
    ...     return {"factor": len(name) * factor}
    >>> torch.compile(lambda x: made("ab", 2)["factor"] * x, backend="eager", fullgraph=True)(torch.ones(1))
    tensor([4.])
    """

    @torch.compiler.assume_constant_result  # type: ignore[untyped-decorator]  # torch leaves it untyped
    def name_of(*args: P.args, **kwargs: P.kwargs) -> str:
        name = f"{make.__name__}_{len(vars(_MADE))}"
        with ThreadPoolExecutor(1) as alone:  # in the modes of this thread no tensor has numbers
            setattr(_MADE, name, alone.submit(make, *args, **kwargs).result())
        return name

    @functools.wraps(make)
    def made(*args: P.args, **kwargs: P.kwargs) -> T:
        if torch.compiler.is_compiling():
            found: T = getattr(_MADE, name_of(*args, **kwargs))
            return found
        return make(*args, **kwargs)

    return made
