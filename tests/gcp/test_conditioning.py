"""Conditioning of the layer before a covariance: the three remedies against independent computations."""

from __future__ import annotations

import copy
from fractions import Fraction

import pytest
import torch
from torch import Tensor, nn
from torch.autograd import gradcheck

import gcp
from gcp.conditioning.layers import layers_before_covariance
from gcp.conditioning.nearest_orthogonal import nearest_orthogonal
from gcp.conditioning.optimal_rate import optimal_rate
from gcp.conditioning.orthogonal_weights import bake_orthogonal, make_orthogonal, trained_weight


def noise(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


def with_singular_values(values: list[float], rows: int, columns: int) -> tuple[Tensor, Tensor]:
    """A matrix with these singular values, and the one with 1 in place of all that are not 0."""
    U, V = (torch.linalg.qr(noise(size, len(values), seed=size))[0] for size in (rows, columns + 1))
    V = torch.linalg.qr(V[:columns])[0]
    s = torch.tensor(values, dtype=torch.float64)
    return (U * s) @ V.T, (U * (s > 0)) @ V.T


@pytest.mark.parametrize("scale", [1e-30, 1.0, 1e30])
@pytest.mark.parametrize(
    "values",
    [[3.0, 2.0, 1.0, 0.5], [2.0, 2.0, 2.0, 2.0], [1.0, 1.0, 1e-5, 1e-5], [3.0, 1.0, 0.0, 0.0], [0.0] * 4],
    ids=["full rank", "tied", "badly conditioned", "deficient", "zero"],
)
@pytest.mark.parametrize(("rows", "columns"), [(4, 4), (4, 9), (9, 4)])
def test_the_gradient_becomes_its_polar_factor(rows, columns, values, scale):
    matrix, expected = with_singular_values(values, rows, columns)
    for dtype, tolerance in ((torch.float64, 1e-9), (torch.float32, 3e-2)):  # roundoff over the least singular value
        found = nearest_orthogonal((scale * matrix).to(dtype).view(rows, columns, 1, 1))
        assert found.shape == (rows, columns, 1, 1)
        assert found.dtype == dtype
        torch.testing.assert_close(found.flatten(1).double(), expected, rtol=0, atol=tolerance)


def test_it_is_the_nearest_and_what_newtons_iteration_for_the_polar_factor_gives():
    matrix = noise(6, 6)
    found = nearest_orthogonal(matrix)
    iterate = matrix.clone()
    for _ in range(30):  # Higham 1986: X becomes (X + X^-T)/2
        iterate = (iterate + torch.linalg.inv(iterate).T) / 2
    torch.testing.assert_close(found, iterate, rtol=0, atol=1e-12)
    for seed in range(20):
        other = torch.linalg.qr(noise(6, 6, seed=seed + 1))[0]
        assert (matrix - found).norm() < (matrix - other).norm()


@pytest.mark.parametrize("value", [torch.nan, torch.inf])
def test_a_gradient_that_is_not_finite_stays_for_loss_scaling_to_see(value):
    gradient = noise(3, 2)
    gradient[1, 1] = value
    torch.testing.assert_close(nearest_orthogonal(gradient), gradient, equal_nan=True)


@pytest.mark.parametrize("scale", [1e-30, 1.0, 1e30])
def test_the_optimal_rate_is_the_published_fraction(scale):
    w, l = (torch.randint(-8, 9, (3, 4, 1, 1), generator=torch.Generator().manual_seed(seed)) for seed in (0, 1))  # noqa: E741  # the paper's letters
    w, l = w.double(), l.double()  # noqa: E741
    for sign in (1, -1):
        ww, lw, ll = (Fraction(int((a * b).sum())) for a, b in ((w, w), (sign * l, w), (l, l)))
        expected = float(ww * lw / (ww * ll + 2 * lw**2))
        for dtype, tolerance in ((torch.float64, 1e-13), (torch.float32, 1e-6)):
            found = optimal_rate(w.to(dtype), (scale * sign * l).to(dtype))
            assert found * scale == pytest.approx(expected, rel=tolerance)
    assert optimal_rate(w, 0 * l) == optimal_rate(0 * w, l) == 0
    assert optimal_rate(w, torch.full_like(l, torch.nan)) != optimal_rate(w, torch.full_like(l, torch.nan))


def deviation(convolution: nn.Conv2d) -> float:
    """How far the weight is from orthogonal."""
    W = convolution.weight.detach().flatten(1)
    W = W if W.shape[0] <= W.shape[1] else W.T
    return float((W @ W.T - torch.eye(len(W), dtype=W.dtype)).abs().max())


CONVOLUTIONS = {"wide": (5, 3, 1), "square": (4, 4, 1), "tall": (3, 5, 1), "3x3": (2, 5, 3), "one": (1, 1, 1)}


@pytest.mark.parametrize(("inputs", "outputs", "size"), CONVOLUTIONS.values(), ids=CONVOLUTIONS)
def test_weights_are_orthogonal_from_their_own_qr_decomposition_on(inputs, outputs, size):
    torch.manual_seed(0)
    convolution = nn.Conv2d(inputs, outputs, size).double()
    matrix = convolution.weight.detach().flatten(1)
    tall = matrix if outputs >= matrix.shape[1] else matrix.T
    Q, R = torch.linalg.qr(tall)
    Q = Q * R.diagonal().sign()  # the one with a positive diagonal of R
    make_orthogonal(convolution)
    found = convolution.weight.detach().flatten(1)
    torch.testing.assert_close(found if tall is matrix else found.T, Q, rtol=0, atol=1e-12)
    original = convolution.get_parameter(trained_weight(convolution))
    assert original.shape == convolution.weight.shape
    optimizer = torch.optim.ASGD([original], lr=0.1, weight_decay=0.3)  # decays twice
    for _ in range(3):
        optimizer.zero_grad()
        convolution(noise(2, inputs, 4, 4)).square().sum().backward()
        original.grad.copy_(nearest_orthogonal(original.grad))  # fills what the reflections do not read
        optimizer.step()
        assert deviation(convolution) < 1e-12
    assert outputs * matrix.shape[1] == 1 or (convolution.weight.flatten(1) - found).abs().max() > 1e-3


@pytest.mark.parametrize(("inputs", "outputs"), [(3, 2), (3, 3), (2, 3)])
def test_the_gradient_through_the_parametrisation(inputs, outputs):
    convolution = nn.Conv2d(inputs, outputs, 1, bias=False).double()
    make_orthogonal(convolution)
    name = trained_weight(convolution)
    x, weights = noise(1, inputs, 2, 2), noise(1, outputs, 2, 2, seed=1)
    original = convolution.get_parameter(name).detach().clone().requires_grad_()

    def loss(parameter: Tensor) -> Tensor:
        return (torch.func.functional_call(convolution, {name: parameter}, x) * weights).sum()

    assert gradcheck(loss, original)


def test_baked_copied_and_reloaded_weights_are_the_same():
    torch.manual_seed(0)
    model = nn.Sequential(nn.Conv2d(6, 4, 1), nn.ReLU())
    make_orthogonal(model[0])
    x = torch.randn(2, 6, 3, 3)
    expected = model(x)
    other = nn.Sequential(nn.Conv2d(6, 4, 1), nn.ReLU())
    make_orthogonal(other[0])
    other.load_state_dict(model.state_dict())
    twin = copy.deepcopy(model)
    assert torch.equal(other(x), expected)
    bake_orthogonal(twin)
    assert type(twin[0]) is nn.Conv2d
    assert set(twin.state_dict()) == {"0.weight", "0.bias"}
    assert torch.equal(twin(x), expected)
    assert torch.equal(model(x), expected)


def test_the_layers_before_covariances():
    whitened = {"whitening": "first"}
    for backbone, method, options, reduced, expected in (
        ("tiny", "pade", {}, 16, ["representation.reduction.0"]),
        ("tiny", "pade", {}, None, []),
        ("tiny", "pade", whitened, None, ["features.0"]),
        ("tiny", "average", {}, 16, []),
        ("tiny", "average", whitened, 16, ["features.0"]),
        ("resnet18", "pade", whitened, 64, ["features.0", "representation.reduction.0"]),
        ("vgg11", "pade", {}, 64, ["representation.reduction.0"]),
    ):
        with torch.device("meta"):
            model = gcp.create_model(backbone, method, 3, reduced_channels=reduced, backbone_options=options, hidden=[])
        found = layers_before_covariance(model)
        assert list(found) == expected
        assert all(model.get_submodule(name) is layer for name, layer in found.items())
