"""The base of every autograd Function here."""

from __future__ import annotations

from typing import Any

import torch

from gcp.errors import DerivativeError


class ReverseMode(torch.autograd.Function):
    """A Function that refuses forward-mode derivatives by a typed error; torch's own says what to implement.

    Not by a ``jvp`` of its own: torch.compile does not trace Functions that have one.
    """

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
