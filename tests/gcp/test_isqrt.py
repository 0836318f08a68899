"""iSQRT-COV: against the published layer, autograd through the published iteration, and numerical derivatives."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from gcp.features import centred
from gcp.pooling.factory import create_pooling
from gcp.roots.newton_schulz import NewtonSchulzRoot
from tests.gcp.helpers import covariance, forward_backward, grad_out, noise, relative_error, unvech

FOLDER = Path(__file__).parent.parent / "reference"


@pytest.mark.parametrize("file", ["layers_fullrank", "layers_rankdef"])
@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float64, 1e-6), (torch.float32, 1e-5)])
def test_published_layer(file: str, dtype: torch.dtype, tolerance: float) -> None:
    """The reference computes in float32: 1e-7, times ten products."""
    with np.load(FOLDER / f"{file}.npz") as stored:
        values = {key: torch.from_numpy(stored[key]) for key in stored}
    x = values["x"].to(dtype)
    y, grad = forward_backward(create_pooling("isqrt", x.shape[1]), x, values["grad_out"])
    assert relative_error(y, values["mpncov.out"]) < tolerance
    assert relative_error(grad, values["mpncov.grad"]) < tolerance


def published(x: Tensor, iterations: int) -> Tensor:
    """The coupled iteration on the C x C covariance over its trace, times sqrt(trace); differentiated by autograd."""
    P = covariance(x)
    trace = P.diagonal(dim1=-2, dim2=-1).sum(-1)[:, None, None]
    eye = torch.eye(P.shape[-1], dtype=P.dtype).expand_as(P)
    Y, Z = P / trace, eye
    for _ in range(iterations):
        T = (3 * eye - Z @ Y) / 2
        Y, Z = Y @ T, T @ Z
    return Y * trace.sqrt()


def deficient(channels: int, positions: int) -> Tensor:
    """Rank below both sizes: a channel that is constant and one that repeats another."""
    x = noise(2, channels, 1, positions, seed=5)
    x[:, 1] = 3
    x[:, 2] = 2 * x[:, 0]
    return x


SHAPES = {
    "N<C": noise(2, 7, 2, 2),
    "N=C": noise(2, 6, 2, 3),
    "N>C": noise(2, 4, 3, 3),
    "N<C, deficient": deficient(6, 5),
    "N>C, deficient": deficient(5, 8),
}


@pytest.mark.parametrize("iterations", [1, 2, 5])
@pytest.mark.parametrize("case", SHAPES)
def test_autograd_through_the_published_iteration(case: str, iterations: int) -> None:
    x = SHAPES[case].clone().requires_grad_()
    channels = x.shape[1]
    gradient = grad_out(channels, 2)
    row, column = torch.triu_indices(channels, channels)
    expected = published(x, iterations)[:, row, column]
    (expected_grad,) = torch.autograd.grad(expected, x, gradient)
    y, grad = forward_backward(create_pooling("isqrt", channels, iterations=iterations), x, gradient)
    assert relative_error(y, expected.detach()) < 1e-13
    assert relative_error(grad, expected_grad) < 1e-12


@pytest.mark.parametrize("case", SHAPES)
def test_gradcheck(case: str) -> None:
    layer = create_pooling("isqrt", SHAPES[case].shape[1], iterations=3)
    x = SHAPES[case].clone().requires_grad_()
    assert torch.autograd.gradcheck(layer, x, eps=1e-6, atol=1e-7, rtol=1e-6)


@pytest.mark.parametrize("case", ["N<C", "N>C"])
def test_second_derivative(case: str) -> None:
    layer = create_pooling("isqrt", SHAPES[case].shape[1], iterations=3)
    x = SHAPES[case][:1].clone().requires_grad_()
    assert torch.autograd.gradgradcheck(layer, x, eps=1e-6, atol=1e-6, rtol=1e-5)


@pytest.mark.parametrize("shape", [(2, 6, 4, 5), (2, 12, 2, 3)])
def test_many_iterations_give_the_square_root(shape: tuple[int, ...]) -> None:
    x = noise(*shape)
    Z = unvech(create_pooling("isqrt", shape[1], iterations=20)(x), shape[1])
    assert relative_error(Z @ Z, covariance(x)) < 1e-12
    y = create_pooling("lyapunov", shape[1], precision="float64")
    isqrt = create_pooling("isqrt", shape[1], iterations=20)
    gradient = grad_out(shape[1], 2)
    assert relative_error(forward_backward(isqrt, x, gradient)[1], forward_backward(y, x, gradient)[1]) < 1e-9


@pytest.mark.parametrize("shape", [(2, 9, 2, 3), (2, 5, 4, 4)])
def test_the_backward_keeps_the_centred_features_alone(shape: tuple[int, ...]) -> None:
    Xc = centred(noise(*shape).flatten(2)).requires_grad_()
    kept: list[Tensor] = []

    def keep(tensor: Tensor) -> Tensor:
        kept.append(tensor)
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        NewtonSchulzRoot.apply(Xc, 5)
    assert [tensor.data_ptr() for tensor in kept] == [Xc.data_ptr()]


def test_functional_transforms_and_compile() -> None:
    layer = create_pooling("isqrt", 5)
    x = noise(3, 5, 2, 2)
    single = torch.func.vmap(lambda sample: layer(sample[None])[0])(x)
    assert relative_error(single, layer(x)) < 1e-12
    jacobian = torch.func.vmap(torch.func.jacrev(lambda sample: layer(sample[None]).sum()))(x)
    _, grad = forward_backward(layer, x, torch.ones(3, 15))
    assert relative_error(jacobian, grad) < 1e-12
    program = torch.export.export(layer.eval(), (x,))
    assert torch.equal(program.module()(x), layer(x))
