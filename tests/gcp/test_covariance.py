"""Values, shapes, dtypes and the independence of samples; channel reduction; vech; average pooling."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode

import gcp
from gcp.covariance import covariance_root, spectral_method
from gcp.methods import list_methods
from gcp.pooling.factory import create_pooling
from gcp.pooling.triangle import vech
from gcp.spectral import lapack
from tests.gcp.helpers import (
    SPECTRAL,
    UNCUT,
    covariance,
    forward_backward,
    grad_out,
    noise,
    pooling,
    relative_error,
    unvech,
)

SHAPES = [(2, 6, 4, 5), (2, 12, 2, 3), (1, 5, 1, 5), (3, 4, 1, 2)]


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("name", UNCUT)
def test_square_of_the_output_is_the_covariance(name: str, shape: tuple[int, ...]) -> None:
    x = noise(*shape) + 3
    Z = unvech(pooling(name, shape[1])(x), shape[1])
    # 1e-13: the root is good to 1e-15 of the largest eigenvalue
    assert relative_error(Z @ Z, covariance(x)) < 1e-13
    assert torch.linalg.eigvalsh(Z).min() > -1e-7


@pytest.mark.parametrize("name", UNCUT)
def test_rank_deficient_covariance(name: str) -> None:
    x = noise(2, 6, 5, 5)
    x[:, 2] = 0
    x[:, 4] = x[:, 1] - 2 * x[:, 3]
    Z = unvech(pooling(name, 6)(x), 6)
    assert relative_error(Z @ Z, covariance(x)) < 1e-13
    assert Z[:, 2].abs().max() < 1e-14  # rounding of the eigenvectors


@pytest.mark.parametrize(("precision", "tolerance"), [("mixed", 1e-6), ("float32", 1e-5), ("float64", 1e-6)])
def test_float32_input_far_from_zero_mean(precision: str, tolerance: float) -> None:
    """A mean 100 times the deviation costs float32 its two digits only where float32 centres."""
    x = (noise(2, 6, 4, 5) + 100).float()
    Z = unvech(pooling("pade", 6, precision)(x).double(), 6)
    expected = covariance(x)
    assert relative_error(Z @ Z, expected) < (1e-3 if precision == "float32" else tolerance)


@pytest.mark.parametrize("name", SPECTRAL)
def test_features_with_three_dimensions(name: str) -> None:
    x = noise(2, 5, 3, 4)
    method = spectral_method(name, precision="float64")
    Z = covariance_root(x, method)
    assert Z.shape == (2, 5, 5)
    assert torch.equal(Z, covariance_root(x.flatten(2), method))
    assert torch.equal(vech(Z), pooling(name, 5)(x))


@pytest.mark.parametrize("name", list_methods())
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32, torch.float64])
def test_output_and_gradient_have_the_dtype_of_the_input(name: str, dtype: torch.dtype) -> None:
    x = noise(2, 6, 4, 4).to(dtype).requires_grad_()
    layer = create_pooling(name, 6)
    y = layer(x)
    y.sum().backward()
    assert y.dtype == dtype
    assert x.grad is not None
    assert x.grad.dtype == dtype
    in_double = layer(x.detach().double())
    assert relative_error(y.detach(), in_double) < 8 * torch.finfo(dtype).eps


@pytest.mark.parametrize("name", SPECTRAL)
def test_autocast_is_left_alone(name: str) -> None:
    """Under autocast the layer works as precisely as without, in value and gradient."""
    x = noise(2, 6, 4, 4).float()
    gradient = grad_out(6, 2).float()
    layer = pooling(name, 6, "mixed")
    y, grad = forward_backward(layer, x, gradient)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        cast_y, cast_grad = forward_backward(layer, x, gradient)
    assert torch.equal(cast_y, y)
    assert torch.equal(cast_grad, grad)


@pytest.mark.parametrize("shape", [(3, 7, 2, 2), (3, 5, 4, 4)])
@pytest.mark.parametrize("name", SPECTRAL)
def test_samples_do_not_influence_each_other(name: str, shape: tuple[int, ...]) -> None:
    """A sample's value and gradient are the same alone, beside others, beside huge, tiny and empty ones."""
    x = noise(*shape)
    gradient = grad_out(shape[1], len(x))
    layer = pooling(name, shape[1])
    y, grad = forward_backward(layer, x, gradient)
    alone_y, alone_grad = forward_backward(layer, x[:1], gradient[:1])
    # 1e-12: alone, other routines of the same arithmetic may run
    assert relative_error(alone_y, y[:1]) < 1e-12
    assert relative_error(alone_grad, grad[:1]) < 1e-12
    for factor in (1e8, 1e-8, 0.0):
        others = torch.cat([x[:1], factor * x[1:]])
        mixed_y, mixed_grad = forward_backward(layer, others, gradient)
        assert relative_error(mixed_y[:1], y[:1]) < 1e-12
        assert relative_error(mixed_grad[:1], grad[:1]) < 1e-12
    separate = x.clone().requires_grad_()
    layer(separate)[0].sum().backward()
    assert separate.grad is not None
    assert separate.grad[0].abs().max() > 0
    assert separate.grad[1:].abs().max() == 0


@pytest.mark.parametrize("precision", ["mixed", "float64", "float32"])
@pytest.mark.parametrize("shape", [(2, 7, 2, 2), (2, 5, 4, 4)])
@pytest.mark.parametrize("name", SPECTRAL)
def test_zero_input(name: str, shape: tuple[int, ...], precision: str) -> None:
    x = noise(*shape).float()
    x[0] = 0
    y, grad = forward_backward(pooling(name, shape[1], precision), x, grad_out(shape[1], 2))
    assert y[0].abs().max() == 0
    assert grad[0].abs().max() == 0
    assert y.isfinite().all()
    assert grad.isfinite().all()
    assert grad[1].abs().max() > 0


@pytest.mark.parametrize("shape", [(2, 7, 3, 3), (2, 5, 7, 7)])
@pytest.mark.parametrize(
    ("dtype", "precision"),
    [
        (torch.float32, "mixed"),
        (torch.float32, "float64"),
        (torch.float64, "mixed"),
        (torch.float64, "float64"),
        (torch.float32, "float32"),
    ],
)
def test_constant_input(shape: tuple[int, ...], dtype: torch.dtype, precision: str) -> None:
    """Every channel constant over positions: no covariance. The mean is rounded where the type leaves no room."""
    levels = torch.rand(shape[0], shape[1], 1, 1, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    x = (10 * levels).to(dtype).expand(shape)
    for name in SPECTRAL:
        y, grad = forward_backward(pooling(name, shape[1], precision), x, grad_out(shape[1], 2))
        assert y.abs().max() <= 100 * torch.finfo(dtype).eps
        assert grad.abs().max() == 0, name


class LargestTensor(TorchDispatchMode):
    """Remembers the number of entries of the largest tensor any operation made."""

    def __init__(self) -> None:
        super().__init__()
        self.entries = 0

    def __torch_dispatch__(
        self, func: Callable[..., Any], types: Any, args: Any = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        result = func(*args, **(kwargs or {}))
        for part in result if isinstance(result, (tuple, list)) else (result,):
            if isinstance(part, Tensor):
                self.entries = max(self.entries, part.numel())
        return result


@pytest.mark.parametrize("name", SPECTRAL)
def test_no_matrix_over_positions_when_channels_are_few(name: str) -> None:
    """400 positions, 3 channels: nothing holds 400 x 400 entries, forward or backward."""
    layer, x, gradient = pooling(name, 3), noise(1, 3, 20, 20), grad_out(3)
    with LargestTensor() as largest:
        forward_backward(layer, x, gradient)
    assert 1200 <= largest.entries < 400 * 400


@pytest.mark.parametrize(("shape", "size"), [((2, 64, 2, 3), 6), ((2, 6, 8, 8), 6)])
@pytest.mark.parametrize("name", SPECTRAL)
def test_the_smaller_matrix_is_decomposed_once(
    name: str, shape: tuple[int, ...], size: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    sizes: list[tuple[int, ...]] = []
    decompose = torch.linalg.eigh

    def counting(matrix: Tensor) -> Any:
        sizes.extend([tuple(matrix.shape[-2:])] * (matrix.numel() // matrix.shape[-1] ** 2))
        return decompose(matrix)

    monkeypatch.setattr(torch.linalg, "eigh", counting)
    forward_backward(pooling(name, shape[1]), noise(*shape), grad_out(shape[1], shape[0]))
    assert sizes == [(size, size)] * shape[0]


@pytest.mark.parametrize("threads", [1, 2])
@pytest.mark.parametrize("precision", ["mixed", "float32"])
def test_number_of_threads_changes_nothing(monkeypatch: pytest.MonkeyPatch, threads: int, precision: str) -> None:
    monkeypatch.setattr(lapack, "WORTHWHILE", 1)  # dealt out matrix by matrix
    x, gradient = noise(5, 9, 2, 3), grad_out(9, 5)
    before = torch.get_num_threads()
    y, grad = forward_backward(pooling("pade", 9, precision), x, gradient)
    try:
        torch.set_num_threads(threads)
        other_y, other_grad = forward_backward(pooling("pade", 9, precision), x, gradient)
        assert torch.get_num_threads() == threads
    finally:
        torch.set_num_threads(before)
    tolerance = 1e-4 if precision == "float32" else 1e-11
    assert relative_error(other_y, y) < tolerance
    assert relative_error(other_grad, grad) < tolerance


def test_vech_is_upper_and_row_after_row() -> None:
    matrix = torch.arange(9.0).reshape(3, 3)
    assert vech(matrix).tolist() == [0, 1, 2, 4, 5, 8]
    assert vech(matrix.expand(2, 4, 3, 3)).shape == (2, 4, 6)


def test_vech_gradient() -> None:
    assert torch.autograd.gradcheck(vech, noise(2, 4, 4).requires_grad_())
    matrix = torch.zeros(3, 3, requires_grad=True)
    vech(matrix).sum().backward()
    assert torch.equal(matrix.grad, torch.ones(3, 3).triu())


@pytest.mark.parametrize("name", list_methods())
@pytest.mark.parametrize("reduced", [None, 5])
def test_out_features(name: str, reduced: int | None) -> None:
    layer = create_pooling(name, in_channels=8, reduced_channels=reduced)
    y = layer(noise(2, 8, 4, 4).float())
    assert y.shape == (2, layer.out_features)
    channels = reduced or 8
    others = {"average": channels, "compact_bilinear": 8192, "cross_covariance": 6 * 16**2}
    assert layer.out_features == others.get(name, channels * (channels + 1) // 2)


def test_average() -> None:
    x = noise(2, 3, 4, 5)
    assert torch.allclose(create_pooling("average", 3)(x), x.sum((2, 3)) / 20)


@pytest.mark.parametrize("name", SPECTRAL)
def test_layer_without_reduction_has_no_state(name: str) -> None:
    """A checkpoint holds nothing of the pooling, whatever the method."""
    layer = create_pooling(name, 6)
    assert list(layer.parameters()) == []
    assert layer.state_dict() == {}


def test_channel_reduction() -> None:
    torch.manual_seed(0)
    layer = create_pooling("pade", in_channels=96, reduced_channels=64)
    kinds = (nn.Conv2d, nn.BatchNorm2d, nn.ReLU)
    convolution, norm, activation = [module for module in layer.modules() if isinstance(module, kinds)]
    assert isinstance(convolution, nn.Conv2d)
    assert isinstance(norm, nn.BatchNorm2d)
    assert isinstance(activation, nn.ReLU)
    assert convolution.weight.shape == (64, 96, 1, 1)
    assert convolution.bias is None
    # Kaiming, fan out: sqrt(2/64); of 6144 numbers the deviation is known to 0.9 %, five of those
    assert abs(convolution.weight.std().item() / (2 / 64) ** 0.5 - 1) < 0.045
    x = noise(3, 96, 4, 4).float()
    layer.eval()
    expected = create_pooling("pade", 64)(activation(norm(convolution(x))))
    assert torch.allclose(layer(x), expected)
    layer.train()
    layer(x).sum().backward()
    assert convolution.weight.grad is not None
    assert convolution.weight.grad.abs().max() > 0


@pytest.mark.parametrize("shape", [(2, 3, 5), (2, 4, 3)], ids=["dense", "gram"])
@pytest.mark.parametrize("method", ["lyapunov", "pade", "original"])
def test_gradient_of_complex_features(method: str, shape: tuple[int, ...]) -> None:
    """In the default run, for whoever changes the products of the backward: transposes there are conjugate ones."""
    x = torch.complex(noise(*shape), noise(*shape, seed=1)).requires_grad_()
    assert torch.autograd.gradcheck(lambda x: gcp.covariance_function(x, method=method), x)
