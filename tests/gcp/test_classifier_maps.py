"""The root as Riemannian classifiers take it: one option of every method that gives a root, and of no other."""

from __future__ import annotations

import pytest
import torch

import gcp
from gcp.errors import DomainError, OptionError
from gcp.methods import CovarianceOptions, list_methods, register_method
from gcp.methods.logm import LogmOptions
from gcp.methods.table import METHODS
from gcp.options import option_names
from gcp.pooling.factory import create_pooling
from gcp.pooling.logm import LogmPooling
from gcp.spectral.spectral_options import SpectralOptions
from lightning_modules.callbacks.spectrum_monitor import exact_gradient
from tests.gcp.helpers import forward_backward, grad_out, noise, relative_error

ROOTS = [name for name in list_methods() if getattr(create_pooling(name, 4), "gives_root", False)]
OTHERS = [name for name in list_methods() if name not in ROOTS]
MAPS = ("power", "scaled", "tangent")


@pytest.mark.parametrize("name", ROOTS)
def test_maps_of_the_root(name: str) -> None:
    """Q, 2 Q and 2 (Q - I), to the bit, and twice the gradient."""
    x, gradient = noise(2, 4, 3, 3).float(), grad_out(4, 2).float()
    plain = forward_backward(create_pooling(name, 4), x, gradient)
    found = {each: forward_backward(create_pooling(name, 4, classifier_map=each), x, gradient) for each in MAPS}
    eye = torch.tensor([1.0, 0, 0, 0, 1, 0, 0, 1, 0, 1])
    for got, expected in zip(found["power"], plain, strict=True):
        assert torch.equal(got, expected)
    assert torch.equal(found["scaled"][0], 2 * plain[0])
    assert torch.equal(found["tangent"][0], 2 * (plain[0] - eye))
    for each in ("scaled", "tangent"):
        assert torch.equal(found[each][1], 2 * plain[1])


@pytest.mark.parametrize("name", ROOTS)
def test_twice_the_root_may_be_too_large_for_its_type(name: str) -> None:
    """Then it is an error that names the sample; the root itself fits whenever the features do."""
    x = noise(3, 4, 3, 3)
    x = (x / x.abs().amax((1, 2, 3), keepdim=True) * torch.tensor([1.0, 65e3, 1.0])[:, None, None, None]).half()
    x[1, 0] = torch.where(x[1, 0] > 0, 65e3, -65e3)
    assert create_pooling(name, 4)(x).isfinite().all()
    for each in ("scaled", "tangent"):
        pool = create_pooling(name, 4, classifier_map=each)
        with pytest.raises(DomainError, match="vector of the covariance of sample 1 is out of the range of float16"):
            pool(x)
        assert pool(x.float()).isfinite().all()
        assert pool(x[::2]).isfinite().all()


def test_the_identity_is_taken_before_the_vector() -> None:
    x = noise(2, 4, 3, 3)
    matrix = create_pooling("pade", 4, vectorisation="full")(x).reshape(2, 4, 4)
    mapped = 2 * (matrix - torch.eye(4, dtype=torch.float64))
    for form in ("upper", "isometric", "full"):
        pool = create_pooling("pade", 4, vectorisation=form, classifier_map="tangent")
        assert torch.equal(pool(x), pool.vectorise(mapped))


@pytest.mark.parametrize("name", OTHERS)
def test_methods_that_give_no_root_refuse(name: str) -> None:
    with pytest.raises(OptionError, match=f"method '{name}' has no option 'classifier_map'"):
        create_pooling(name, 4, classifier_map="tangent")


def test_a_layer_of_ones_own_that_gives_no_root_refuses() -> None:
    class OwnOptions(SpectralOptions, LogmOptions):
        """Has the option, but no root."""

    register_method("own_log", options=OwnOptions, layer=LogmPooling)
    try:
        create_pooling("own_log", 4)
        with pytest.raises(OptionError, match="classifier_map=scaled maps the root of a covariance, which 'own_log'"):
            create_pooling("own_log", 4, classifier_map="scaled")
    finally:
        del METHODS._entries["own_log"]


def test_mistakes() -> None:
    with pytest.raises(OptionError, match="must be one of power, scaled, tangent, got 'tangential'"):
        create_pooling("isqrt", 4, classifier_map="tangential")
    with pytest.raises(OptionError, match="classifier_map is an option of pooling layers"):
        gcp.spectral_function(torch.eye(3), classifier_map="scaled")
    assert "classifier_map" not in option_names(CovarianceOptions)


def test_the_monitor_compares_with_the_exact_gradient_of_the_map() -> None:
    x, gradient = noise(2, 4, 3, 3).float(), grad_out(4, 2).float()
    for each in MAPS:
        pool = create_pooling("pade", 4, classifier_map=each)
        exact, _, _ = exact_gradient(pool, x, gradient)
        assert exact is not None
        assert relative_error(forward_backward(pool, x, gradient)[1], exact) < 1e-5  # of the same root in float32
