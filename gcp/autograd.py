"""What the autograd Functions here share: products without autocast, no forward mode, and an end of derivatives."""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext
from typing import Any

import torch
from torch import Tensor

from gcp.errors import DerivativeError


def without_autocast(tensor: Tensor) -> AbstractContextManager[object]:
    """A context in which operations on the device of ``tensor`` keep the dtypes of their inputs.

    Sums of products, and decompositions, need all digits their inputs have.
    """
    kind = tensor.device.type
    # The meta device has no autocast to switch off.
    return torch.autocast(kind, enabled=False) if torch.amp.is_autocast_available(kind) else nullcontext()


class ReverseMode(torch.autograd.Function):
    """A Function that refuses forward-mode derivatives by a typed error; torch's own says what to implement.

    Not by a ``jvp`` of its own: torch.compile does not trace Functions that have one.
    """

    generate_vmap_rule = True

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: Any) -> None:
        """Nothing to keep, unless a Function says what."""

    @classmethod
    def apply(cls, *args: Any, **kwargs: Any) -> Any:
        """The Function's outputs; raises DerivativeError where an input carries a forward-mode tangent."""
        try:
            return super().apply(*args, **kwargs)
        except NotImplementedError as error:
            if isinstance(error, DerivativeError) or "jvp" not in str(error):
                raise
            raise DerivativeError(
                "forward-mode derivatives are not implemented; use reverse mode: "
                "torch.func.jacrev(torch.func.grad(f)) in place of torch.func.hessian(f)"
            ) from None


def no_derivative(message: str) -> Any:
    """A Function's ``backward`` that raises DerivativeError with ``message``.

    >>> class Negative(ReverseMode):
    ...     @staticmethod
    ...     def forward(x):
    ...         return -x
    ...     backward = no_derivative("nobody needs the derivative of a sign")
    >>> Negative.apply(torch.ones(1, requires_grad=True)).backward()
    Traceback (most recent call last):
    gcp.errors.DerivativeError: nobody needs the derivative of a sign
    """

    def backward(ctx: Any, *grads: Tensor) -> Any:
        raise DerivativeError(message)

    return staticmethod(backward)
