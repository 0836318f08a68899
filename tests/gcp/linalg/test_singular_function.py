"""Odd functions of singular values: exact at ties, at null singular values, for every shape, real and complex."""

from __future__ import annotations

import pytest
import torch
from torch.autograd import gradcheck

from gcp.errors import NonFiniteError, OptionError, UnknownNameError
from gcp.linalg import singular_function
from tests.gcp.linalg.matrices import KINDS, REGULAR, SINGULAR_VALUES, noise, with_singular_values

FUNCTIONS = {
    "power 0.5": ("power", {"alpha": 0.5}),
    "power 3": ("power", {"alpha": 3.0}),
    "sqrt": ("sqrt", {}),
    "soft_threshold": ("soft_threshold", {"threshold": 1.25}),
    "sine": ((torch.sin, torch.cos), {}),
}
SMOOTH = ("power 3", "soft_threshold", "sine")  # at 0


def cases():
    for name in FUNCTIONS:
        for values in SINGULAR_VALUES if name in SMOOTH else REGULAR:
            fast = (name, values) in (("power 0.5", "pair"), ("soft_threshold", "rank one"))
            yield pytest.param(name, values, marks=() if fast else pytest.mark.slow)


@pytest.mark.parametrize(
    ("shape", "dtype"),
    KINDS[2:4] + [pytest.param(*kind.values, id=kind.id, marks=pytest.mark.slow) for kind in KINDS[:2] + KINDS[4:]],
)
@pytest.mark.parametrize(("name", "values"), list(cases()))
def test_both_modes_are_the_derivative(name, values, shape, dtype):
    f, options = FUNCTIONS[name]
    A = with_singular_values(SINGULAR_VALUES[values], shape, dtype).requires_grad_()
    assert gradcheck(lambda A: singular_function(A, f, **options), A, check_forward_ad=True)


@pytest.mark.parametrize("name", FUNCTIONS)
def test_values(name):
    """Against the definition, and odd."""
    f, options = FUNCTIONS[name]
    A = noise(2, 4, 3)
    U, s, Vh = torch.linalg.svd(A, full_matrices=False)
    scalar = {
        "power 0.5": torch.sqrt, "sqrt": torch.sqrt, "power 3": lambda s: s**3, "sine": torch.sin,
        "soft_threshold": lambda s: (s - 1.25).clamp(min=0),
    }[name]  # fmt: skip
    found = singular_function(A, f, **options)
    assert torch.allclose(found, (U * scalar(s).unsqueeze(-2)) @ Vh, rtol=1e-13, atol=1e-14)
    assert torch.allclose(singular_function(-A, f, **options), -found, rtol=1e-13, atol=1e-14)
    assert torch.allclose(singular_function(A.mT, f, **options), found.mT, rtol=1e-13, atol=1e-14)


def test_the_exponent_gets_its_gradient():
    A, alpha = noise(2, 3, 4).requires_grad_(), torch.tensor(0.6, dtype=torch.float64, requires_grad=True)
    assert gradcheck(lambda A, alpha: singular_function(A, "power", alpha=alpha), (A, alpha), check_forward_ad=True)


@pytest.mark.parametrize("scale", [2.0**-100, 2.0**-20, 2.0**100])
def test_powers_scale_without_rounding(scale):
    """Of a power of two, in value and gradient; float32 as it comes."""
    A = noise(4, 3).float()
    grads = []
    for factor in (1.0, scale):
        x = (A * factor).requires_grad_()
        y = singular_function(x, "power", alpha=0.5)
        (y * noise(4, 3, seed=5).float()).sum().backward()
        grads.append(x.grad * factor**0.5)
        assert torch.equal(y / factor**0.5, singular_function(A, "power", alpha=0.5))
    assert torch.equal(*grads)


@pytest.mark.parametrize("shape", [(0, 3, 3), (2, 0, 3), (2, 3, 0), (0, 0)])
def test_empty(shape):
    A = torch.zeros(shape, requires_grad=True)
    assert singular_function(A, "sqrt").shape == shape
    singular_function(A, "sqrt").sum().backward()
    assert A.grad.shape == shape


def test_refusals():
    A = noise(3, 3)
    with pytest.raises(UnknownNameError, match="soft_threshold"):
        singular_function(A, "soft_treshold")
    with pytest.raises(OptionError, match="needs alpha"):
        singular_function(A, "power")
    with pytest.raises(OptionError, match="no option 'eps'"):
        singular_function(A, "power", alpha=0.5, eps=1e-3)
    with pytest.raises(OptionError, match="is 0 at 0"):
        singular_function(A, (torch.exp, torch.exp))
    with pytest.raises(OptionError, match="is 0 at 0"):
        singular_function(A, "power", alpha=-1.0)
    with pytest.raises(OptionError, match="at least 0"):
        singular_function(A, "soft_threshold", threshold=-1.0)
    with pytest.raises(NonFiniteError, match="matrix 1 of 2"):
        singular_function(torch.stack([A, A * torch.nan]), "sqrt")
