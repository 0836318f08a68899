"""Measurements of approximations and of smoothness, against closed forms."""

from __future__ import annotations

from fractions import Fraction

import mpmath
import pytest
import torch
from torch import nn

from gcp.diagnostics.approximation import solved_pade, taylor_error, taylor_value
from gcp.diagnostics.smoothness import effective_smoothness


@pytest.mark.parametrize(("x", "published"), [("0.7", 8e-16), ("0.9", 2e-4), ("0.99", 36), ("0.999", 904)])
def test_the_published_errors_of_taylor(x, published):
    # two digits for the large ones; the small ones are printed with one
    assert taylor_error(Fraction(x)) == pytest.approx(published, rel=0.01 if published > 1 else 0.21)


def test_the_error_of_taylor_is_that_of_its_sum():
    with mpmath.workdps(60):
        x = mpmath.mpf("0.97")
        by_hand = 1 / (1 - x) - mpmath.fsum(x**power for power in range(41))
        assert taylor_error(Fraction("0.97"), 40) == pytest.approx(float(by_hand), rel=1e-14)
    value = taylor_value(torch.tensor(0.97, dtype=torch.float64), 40)
    assert float(value) == pytest.approx((1 - 0.97**41) / 0.03, rel=1e-13)


@pytest.mark.parametrize("seed", [0, 1])
def test_a_solved_pade_approximant_is_the_quotient_away_from_its_pole_and_noise_at_it(seed):
    approximant = solved_pade(seed=seed)
    x = torch.linspace(0, 0.8, 50, dtype=torch.float64)
    assert ((approximant(x) * (1 - x)) - 1).abs().max() < 1e-10
    assert abs(float(approximant(torch.ones(1, dtype=torch.float64))[0])) > 1e12
    assert (approximant.poles() - 1).abs().min() < 1e-9


def quadratic(weight, matrix):
    return 0.5 * weight @ matrix @ weight


def test_smoothness_of_a_quadratic():
    matrix = torch.diag(torch.tensor([4.0, 1.0], dtype=torch.float64))
    weight = nn.Parameter(torch.tensor([1.0, 2.0], dtype=torch.float64))
    before = weight.detach().clone()
    gradient = matrix @ before
    expected = (matrix @ gradient).norm() / gradient.norm()  # the same for every step
    found = effective_smoothness(lambda: quadratic(weight, matrix), weight, [0.1, 1.0])
    assert found == pytest.approx(expected.item(), rel=1e-12)
    assert torch.equal(weight.detach(), before)
    assert weight.grad is None


def test_smoothness_takes_the_largest_over_the_steps_and_puts_statistics_back():
    torch.manual_seed(0)
    model = nn.Sequential(nn.Conv2d(1, 2, 1), nn.BatchNorm2d(2), nn.Tanh()).double()
    images = torch.randn(4, 1, 3, 3, dtype=torch.float64)
    before = {name: value.clone() for name, value in model.state_dict().items()}
    loss = lambda: (model(images) ** 3).sum()  # noqa: E731
    each = [effective_smoothness(loss, model[0].weight, [eta], [model]) for eta in (0.01, 1.0)]
    assert effective_smoothness(loss, model[0].weight, [0.01, 1.0], [model]) == pytest.approx(max(each))
    for name, value in model.state_dict().items():
        assert torch.equal(value, before[name]), name


def test_smoothness_without_a_gradient_is_not_a_number():
    weight = nn.Parameter(torch.zeros(2))
    assert effective_smoothness(lambda: quadratic(weight, torch.eye(2)), weight, [0.1]) != 0
