"""`cross_covariance` against its definition written as a loop."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor
from torch.autograd import gradcheck

from gcp.errors import NonFiniteError, OptionError
from gcp.pooling.factory import create_pooling
from tests.gcp.helpers import forward_backward, noise, relative_error


def pool(channels: int, heads: int = 2, width: int = 3, **options: float):  # type: ignore[no-untyped-def]
    torch.manual_seed(0)
    return create_pooling("cross_covariance", channels, heads=heads, width=width, **options).double()


def by_loop(layer, x: Tensor, alpha: float, weights: Tensor | None = None) -> Tensor:  # type: ignore[no-untyped-def]
    """Position by position, head by head, the power by torch's own decomposition."""
    vectors = []
    for sample, tokens in enumerate(x.flatten(2).mT):  # (N, C)
        share = torch.full((len(tokens),), 1 / len(tokens)) if weights is None else weights[sample]
        share = share / share.sum()
        parts = []
        for head in range(layer.options.heads):
            rows = slice(head * layer.options.width, (head + 1) * layer.options.width)
            A = sum(
                p * torch.outer(layer.query.weight[rows] @ token, layer.key.weight[rows] @ token)
                for p, token in zip(share.double(), tokens, strict=True)
            )
            U, S, Vh = torch.linalg.svd(A)
            parts.append((U * S**alpha @ Vh).flatten())
        vectors.append(torch.cat(parts))
    return torch.stack(vectors)


@pytest.mark.parametrize("alpha", [0.5, 0.8])
def test_the_layer_is_its_definition(alpha: float) -> None:
    """Values, and gradients of features, maps and weights, where torch's decomposition has one."""
    layer = pool(5, alpha=alpha)
    x, weights = noise(2, 5, 2, 4).requires_grad_(), (noise(2, 8, seed=3).abs() + 0.1).requires_grad_()
    for given in (None, weights):
        leaves = [x, *layer.parameters(), *([] if given is None else [given])]
        y, expected = layer(x, given), by_loop(layer, x, alpha, given)
        assert y.shape == (2, layer.out_features) == (2, 18)
        assert relative_error(y.detach(), expected.detach()) < 1e-13
        found, wanted = (torch.autograd.grad(each, leaves, noise(2, 18, seed=5)) for each in (y, expected))
        for part, other in zip(found, wanted, strict=True):
            assert relative_error(part, other) < 1e-10


def test_gradient_of_full_and_of_less_rank() -> None:
    for positions in (4, 2):
        layer = pool(3, heads=1, width=2)
        assert gradcheck(layer, noise(2, 3, positions).requires_grad_())


def test_equal_singular_values_and_none() -> None:
    """Q K^T/N a multiple of the identity: the gradient is that of differences; of 0 it is 0."""
    layer = pool(3, heads=1, width=3)
    with torch.no_grad():
        layer.query.weight.copy_(torch.eye(3))
        layer.key.weight.copy_(torch.eye(3))
    tied = (torch.eye(3, dtype=torch.float64) * 3**0.5)[None]
    assert gradcheck(layer, tied.clone().requires_grad_())
    y, grad = forward_backward(layer, torch.cat([tied, 0 * tied, tied[:, :, :1].expand(1, 3, 3)]), noise(3, 9))
    assert y.isfinite().all()
    assert grad.isfinite().all()
    assert y[1].abs().max() == grad[1].abs().max() == 0


def test_what_is_not_finite_is_named() -> None:
    x = noise(3, 5, 4)
    x[2, 1, 1] = torch.nan
    with pytest.raises(NonFiniteError, match="sample 2 of 3") as caught:
        pool(5)(x)
    assert caught.value.samples == (2,)
    with pytest.raises(OptionError, match="alpha must be greater than 0"):
        pool(5, alpha=0.0)
