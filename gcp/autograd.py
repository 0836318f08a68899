"""What the autograd Functions here share: products without autocast, one mode or both, and an end of derivatives."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from typing import Any, ClassVar

import torch
from torch import Tensor
from torch._C import _functorch
from torch.autograd import forward_ad

from gcp.errors import DerivativeError


def without_autocast(tensor: Tensor) -> AbstractContextManager[object]:
    """A context in which operations on the device of ``tensor`` keep the dtypes of their inputs.

    Sums of products, and decompositions, need all digits their inputs have.
    """
    kind = tensor.device.type
    if not torch.amp.is_autocast_available(kind):  # as on the meta device
        return nullcontext()
    if not torch.compiler.is_compiling() and not torch.is_autocast_enabled(kind):
        return nullcontext()  # a program may run under another autocast than it was compiled under
    return torch.autocast(kind, enabled=False)


def _may_be_differentiated() -> bool:
    """Whether more can come of a Function than its outputs: a gradient, a tangent, or what torch.func makes of it."""
    return torch.is_grad_enabled() or forward_ad._current_level >= 0 or bool(_functorch.get_interpreter_stack())


class ReverseMode(torch.autograd.Function):
    """A Function that refuses forward-mode derivatives by a typed error; torch's own says what to implement.

    Not by a ``jvp`` of its own: torch.compile does not trace Functions that have one.
    """

    generate_vmap_rule = True

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        # torch asks for it in each call; where it is written down that takes a fifth of the time.
        forward: Any = cls.forward
        forward.__signature__ = inspect.signature(forward)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: Any) -> None:
        """Nothing to keep, unless a Function says what."""

    @classmethod
    def apply(cls, *args: Any, **kwargs: Any) -> Any:
        """The Function's outputs; raises DerivativeError where an input carries a forward-mode tangent."""
        if not (torch.compiler.is_compiling() or _may_be_differentiated()):
            return cls.forward(*args, **kwargs)
        try:
            return super().apply(*args, **kwargs)
        except NotImplementedError as error:
            if isinstance(error, DerivativeError) or "jvp" not in str(error):
                raise
            raise DerivativeError(
                "forward-mode derivatives are not implemented; use reverse mode: "
                "torch.func.jacrev(torch.func.grad(f)) in place of torch.func.hessian(f)"
            ) from None


class BothModes(ReverseMode):
    """A Function with a derivative in forward mode too: its `tangent`, which is what torch calls ``jvp``.

    torch.compile does not trace Functions that have a ``jvp``. So the class that is written down, and traced, has none;
    in eager mode a twin of it runs that has. Both keep what they need by `keep`. ``tangent(ctx, *tangents)`` gives the
    outputs' tangents from those of the inputs, where None stands for 0 and for what has none.

    >>> class Square(BothModes):
    ...     @staticmethod
    ...     def forward(x):
    ...         return x**2
    ...     @staticmethod
    ...     def setup_context(ctx, inputs, output):
    ...         keep(ctx, *inputs)
    ...     @staticmethod
    ...     def backward(ctx, grad):
    ...         return 2 * ctx.saved_tensors[0] * grad
    ...     tangent = backward
    >>> torch.func.jvp(Square.apply, (torch.tensor(3.0),), (torch.tensor(1.0),))[1]
    tensor(6.)
    """

    in_eager_mode: ClassVar[type[BothModes]]
    tangent: Callable[..., Any]

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        if "jvp" not in vars(cls):
            members = {
                "jvp": staticmethod(_of_one_level(cls.tangent)),
                "__module__": cls.__module__,
                "__doc__": cls.__doc__,
            }
            cls.in_eager_mode = type(cls.__name__, (cls,), members)

    @classmethod
    def apply(cls, *args: Any, **kwargs: Any) -> Any:
        """The Function's outputs."""
        if torch.compiler.is_compiling() or not _may_be_differentiated():
            return super().apply(*args, **kwargs)
        return super(BothModes, cls.in_eager_mode).apply(*args, **kwargs)


def _of_one_level(tangent: Callable[..., Any]) -> Callable[..., Any]:
    """``tangent``, but an error where one forward mode is inside another: there torch takes its derivative for 0."""

    def jvp(ctx: Any, *tangents: Tensor | None) -> Any:
        levels = [level.key() for level in _functorch.get_interpreter_stack() or ()]
        if levels.count(_functorch.TransformType.Jvp) > 1:
            raise DerivativeError(
                "forward mode inside forward mode is not implemented; use reverse mode for the inner one: "
                "torch.func.jacfwd(torch.func.jacrev(f)), which is torch.func.hessian(f)"
            )
        return tangent(ctx, *tangents)

    return jvp


def keep(ctx: Any, *tensors: Tensor | None) -> None:
    """Save ``tensors`` for the backward and the tangent of a `BothModes`: inputs and outputs alone."""
    ctx.save_for_backward(*tensors)
    if not torch.compiler.is_compiling():
        ctx.save_for_forward(*tensors)


def no_derivative(message: str) -> Any:
    """A Function's ``backward``, or ``tangent``, that raises DerivativeError with ``message``.

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


class Refusing(BothModes):
    """The identity, whose derivative is an error."""

    @staticmethod
    def forward(tensor: Tensor, message: str) -> Tensor:
        """A copy of ``tensor``."""
        return tensor.clone()

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: Any) -> None:
        """Keep the message."""
        ctx.message = inputs[1]

    @staticmethod
    def backward(ctx: Any, *grads: Tensor | None) -> Any:
        """Raise DerivativeError."""
        raise DerivativeError(ctx.message)

    tangent = backward


def refusing(tensor: Tensor, message: str) -> Tensor:
    """``tensor`` for use where its own derivative is not known: to ask for it raises DerivativeError with ``message``.

    What is asked is known only when autograd arrives there; a Function knows no more than what could be asked.

    >>> x = torch.ones(1, requires_grad=True)
    >>> refusing(x, "nobody needs it").sum().backward()
    Traceback (most recent call last):
    gcp.errors.DerivativeError: nobody needs it
    """
    same: Tensor = Refusing.apply(tensor, message)
    return same
