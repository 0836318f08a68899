"""Scalar maps: values and divided differences against high precision, and what users may write for f."""

import math

import mpmath
import pytest
import torch

from gcp.errors import OptionError, UnknownNameError
from gcp.spectral.maps import Custom, ExpNeg, InverseSquareRoot, Log, Power, SquareRoot, as_map, list_functions

EPS = torch.finfo(torch.float64).eps

CASES = {
    "sqrt": (SquareRoot(), mpmath.sqrt),
    "inverse_sqrt": (InverseSquareRoot(), lambda a: 1 / mpmath.sqrt(a)),
    "log": (Log(), mpmath.log),
    "exp_neg": (ExpNeg(), lambda a: mpmath.exp(-a)),
    "power 0.3": (Power(0.3), lambda a: a ** mpmath.mpf(0.3)),
    "power -1.5": (Power(-1.5), lambda a: a ** mpmath.mpf(-1.5)),
    "power 3": (Power(3), lambda a: a**3),
    "power tensor": (Power(torch.tensor(0.25)), lambda a: a ** mpmath.mpf(0.25)),
}
SMOOTH = {
    "sin": (Custom(torch.sin, torch.cos), mpmath.sin),
    "softplus": (Custom(torch.nn.functional.softplus, torch.sigmoid), lambda a: mpmath.log(1 + mpmath.exp(a))),
    "reciprocal": (Custom(torch.reciprocal, lambda a: -1 / a**2, nonnegative=True), lambda a: 1 / a),
}
RELATIVE_GAPS = [1e-15, 1e-12, 1e-9, 1e-6, 5e-4, 1e-3, 1e-2, 0.3, 0.999999]


def exact_difference(f, a: float, b: float) -> float:
    with mpmath.workdps(60):
        return float((f(mpmath.mpf(a)) - f(mpmath.mpf(b))) / (mpmath.mpf(a) - mpmath.mpf(b)))


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("scale", [1e-20, 1e-3, 1.0, 30.0, 1e20])
def test_closed_divided_differences_are_free_of_cancellation(case, scale):
    function, reference = CASES[case]
    if case == "exp_neg" and scale > 100:
        pytest.skip("underflows to 0")
    for gap in RELATIVE_GAPS:
        a, b = scale, scale * (1 - gap)
        if a == b:
            continue
        pair = torch.tensor([a, b], dtype=torch.float64)
        expected = exact_difference(reference, a, b)
        for found in (function.divided_difference(pair[0], pair[1]), function.divided_difference(pair[1], pair[0])):
            # pow and exp lose |exponent * log(argument)| roundings, at most 2 * 46 here.
            assert float(found) == pytest.approx(expected, rel=200 * EPS), gap


@pytest.mark.parametrize("case", SMOOTH)
def test_a_callables_divided_difference_is_accurate_at_any_gap(case):
    function, reference = SMOOTH[case]
    for gap in RELATIVE_GAPS:
        a, b = 1.3, 1.3 * (1 - gap)
        pair = torch.tensor([a, b], dtype=torch.float64)
        found = float(function.divided_difference(pair[0], pair[1]))
        # The quotient just beyond the switch loses eps/eps^(1/5) = eps^(4/5) = 3e-13.
        assert found == pytest.approx(exact_difference(reference, a, b), rel=2e-12), gap


@pytest.mark.parametrize("case", [*CASES, *SMOOTH])
def test_divided_difference_of_equal_arguments_is_the_derivative(case):
    function, reference = (CASES | SMOOTH)[case]
    a = torch.tensor([0.01, 1.7, 12.0], dtype=torch.float64)
    torch.testing.assert_close(function.divided_difference(a, a), function.derivative(a), rtol=20 * EPS, atol=0)
    slopes = [float(mpmath.diff(reference, float(value))) for value in a]
    # mpmath's numerical derivative at 15 digits
    assert function.derivative(a).tolist() == pytest.approx(slopes, rel=1e-7)
    assert function.value(a).tolist() == pytest.approx([float(reference(float(value))) for value in a], rel=1e-14)


@pytest.mark.parametrize("function", [SquareRoot(), Power(0.3), Power(0.0), ExpNeg()])
def test_pairs_with_zero_are_finite(function):
    a, zero = torch.tensor(4.0, dtype=torch.float64), torch.tensor(0.0, dtype=torch.float64)
    expected = (function.value(a) - function.at_zero) / a
    torch.testing.assert_close(function.divided_difference(a, zero), expected, rtol=4 * EPS, atol=0)
    torch.testing.assert_close(function.divided_difference(zero, a), expected, rtol=4 * EPS, atol=0)


def test_values_at_zero():
    assert SquareRoot().vanishes_at_zero
    assert not SquareRoot(eps=1e-5).vanishes_at_zero
    assert not InverseSquareRoot().finite_at_zero
    assert InverseSquareRoot(eps=1e-5).finite_at_zero
    assert Log().at_zero == -math.inf
    assert ExpNeg().at_zero == 1
    assert (Power(0.5).at_zero, Power(0).at_zero, Power(-1).at_zero) == (0, 1, math.inf)
    assert Custom(torch.cos, lambda a: -a.sin()).at_zero == 1


def test_shift_is_relative_to_the_mean_eigenvalue_unless_told_otherwise():
    eigenvalues = torch.tensor([[3.0, 1.0], [0.0, 0.0]])
    torch.testing.assert_close(Log(eps=0.5).shift(eigenvalues, 8), torch.tensor([[0.25], [0.5]]))
    torch.testing.assert_close(Log(eps=0.5, relative=False).shift(eigenvalues, 8), torch.tensor([[0.5], [0.5]]))
    assert Log().shift(eigenvalues, 8) is None


def test_derivative_with_respect_to_the_exponent():
    alpha = torch.tensor(0.4, dtype=torch.float64, requires_grad=True)
    eigenvalues = torch.tensor([2.0, 0.3, 0.0], dtype=torch.float64)
    found = Power(alpha).parameter_derivative(eigenvalues)
    expected = [2**0.4 * math.log(2), 0.3**0.4 * math.log(0.3), 0.0]
    assert found.tolist() == pytest.approx(expected, rel=1e-14)
    assert Power(alpha).parameter is alpha
    assert Power(0.4).parameter is None


def test_maps_from_names_maps_and_pairs():
    assert list_functions() == ["exp_neg", "inverse_sqrt", "log", "power", "sqrt"]
    assert as_map("sqrt") == SquareRoot()
    assert as_map("inverse_sqrt", {"eps": 1e-3, "relative": False}) == InverseSquareRoot(eps=1e-3, relative=False)
    assert as_map("power", {"alpha": 0.3}).alpha == 0.3
    log = Log(eps=1e-2)
    assert as_map(log) is log
    pair = as_map((torch.reciprocal, lambda a: -1 / a**2), {"eps": 1e-2, "nonnegative": True})
    assert pair.nonnegative
    assert pair.finite_at_zero


@pytest.mark.parametrize(
    ("f", "options", "error", "says"),
    [
        ("invers_sqrt", {}, UnknownNameError, "did you mean 'inverse_sqrt'"),
        ("power", {}, OptionError, "needs alpha"),
        ("log", {"epsilon": 1}, OptionError, "did you mean 'eps'"),
        ("exp_neg", {"eps": 1.0}, OptionError, "no option 'eps'"),
        ("log", {"eps": -1.0}, OptionError, "eps must be at least 0"),
        ("log", {"eps": math.nan}, OptionError, "eps must be at least 0"),
        ("power", {"alpha": "half"}, OptionError, "alpha must be a finite number"),
        ("power", {"alpha": math.inf}, OptionError, "alpha must be a finite number"),
        ("power", {"alpha": torch.ones(2)}, OptionError, "one floating-point number"),
        (torch.sin, {}, OptionError, "pair of callables"),
        ((torch.sin, 1), {}, OptionError, "pair of callables"),
        ((torch.sin, torch.cos), {"eps": 1.0}, OptionError, "nonnegative=True"),
    ],
)
def test_wrong_functions_are_named(f, options, error, says):
    with pytest.raises(error, match=says):
        as_map(f, options)
