"""The base classes of the autograd Functions."""

from __future__ import annotations

import pytest
import torch

from gcp.autograd import BothModes, keep
from gcp.errors import DerivativeError


class Square(BothModes):
    @staticmethod
    def forward(x):
        return x**2

    @staticmethod
    def setup_context(ctx, inputs, output):
        keep(ctx, *inputs)

    @staticmethod
    def backward(ctx, grad):
        return 2 * ctx.saved_tensors[0] * grad

    tangent = backward


def test_forward_inside_forward_is_refused():
    """There torch gives 0 for the derivative of a jvp; all other pairs are right."""
    x = torch.tensor(3.0)
    jacfwd, jacrev = torch.func.jacfwd, torch.func.jacrev
    for outer, inner in ((jacfwd, jacrev), (jacrev, jacfwd), (jacrev, jacrev)):
        assert outer(inner(Square.apply))(x) == 2
    with pytest.raises(DerivativeError, match="inside forward mode"):
        jacfwd(jacfwd(Square.apply))(x)
    with pytest.raises(DerivativeError, match="inside forward mode"):
        torch.func.jvp(lambda x: torch.func.jvp(Square.apply, (x,), (x,))[1], (x,), (x,))
