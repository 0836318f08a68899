"""What a user gets wrong is answered with one sentence that says what was found and what to do."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import pytest
import torch

from gcp.covariance import covariance_root, spectral_method
from gcp.errors import GCPError, NonFiniteError, OptionError, ShapeError, UnknownNameError
from gcp.methods import METHODS, SpectralOptions, list_methods, register_method
from gcp.options import option, option_names
from gcp.pooling.factory import create_pooling
from gcp.spectral.loewner import Loewner, Spectrum
from tests.gcp.helpers import (
    SPECTRAL,
    dense_gradient,
    forward_backward,
    grad_out,
    noise,
    pooling,
    relative_error,
)

WRONG: list[tuple[Callable[[], object], type[GCPError], list[str]]] = [
    (lambda: create_pooling("pede", 8), UnknownNameError, ["'pede'", "did you mean 'pade'?", *list_methods()]),
    (lambda: create_pooling("Taylor", 8), UnknownNameError, ["did you mean 'taylor'?"]),
    (lambda: create_pooling("taylor", 8, degre=5), OptionError, ["'degre'", "did you mean 'degree'?", "precision"]),
    (
        lambda: create_pooling("pade", 8, degree=5),
        OptionError,
        ["'pade'", "'degree'", "it takes: vectorisation, precision"],
    ),
    (lambda: create_pooling("average", 8, degree=5), OptionError, ["'average'", "no options"]),
    (lambda: create_pooling("taylor", 8, degree=-3), OptionError, ["degree", "at least 1", "-3"]),
    (lambda: create_pooling("pi", 8, iterations=0), OptionError, ["iterations", "at least 1", "0"]),
    (lambda: create_pooling("newton", 8, iterations=0), OptionError, ["iterations", "at least 1"]),
    (lambda: create_pooling("taylor", 8, degree="ten"), OptionError, ["degree", "an integer", "'ten'"]),
    (lambda: create_pooling("taylor", 8, degree=True), OptionError, ["degree", "an integer", "True"]),
    (lambda: create_pooling("taylor", 8, degree=2.5), OptionError, ["degree", "an integer", "2.5"]),
    (lambda: create_pooling("taylor", 8, degree=None), OptionError, ["degree", "an integer", "None"]),
    (lambda: create_pooling("trunc", 8, limit="much"), OptionError, ["limit", "a number", "'much'"]),
    (lambda: create_pooling("trunc", 8, limit=True), OptionError, ["limit", "a number", "True"]),
    (lambda: create_pooling("trunc", 8, limit=0), OptionError, ["limit", "greater than 0"]),
    (lambda: create_pooling("trunc", 8, limit=float("nan")), OptionError, ["limit", "nan"]),
    (lambda: create_pooling("pade", 8, precision="double"), OptionError, ["precision", "mixed, float64, float32"]),
    (lambda: create_pooling("pade", 8, precision=64), OptionError, ["precision", "a word", "64"]),
    (lambda: create_pooling("topn", 8, n=9), OptionError, ["n=9", "8 channels", "8 or less", "fraction"]),
    (lambda: create_pooling("topn", 64, reduced_channels=8, n=9), OptionError, ["n=9", "8 channels"]),
    (lambda: create_pooling("topn", 8, n=0), OptionError, ["n must be at least 1"]),
    (lambda: create_pooling("topn", 8, fraction=1.5), OptionError, ["fraction", "at most 1", "1.5"]),
    (lambda: create_pooling("topn", 8, fraction=0.0), OptionError, ["fraction", "greater than 0"]),
    (lambda: create_pooling("topn", 8, n=4, fraction=0.5), OptionError, ["n or fraction", "n=4", "fraction=0.5"]),
    (lambda: create_pooling("pade", 0), OptionError, ["in_channels", "at least 1", "0"]),
    (lambda: create_pooling("pade", 8, reduced_channels=-1), OptionError, ["reduced_channels", "at least 1", "-1"]),
    (lambda: spectral_method("average"), OptionError, ["'average'", *SPECTRAL]),
    (lambda: spectral_method("lyapunow"), UnknownNameError, ["did you mean 'lyapunov'?"]),
    (
        lambda: covariance_root(noise(2, 8, 3), spectral_method("topn", n=9)),
        OptionError,
        ["n=9", "8 channels"],
    ),
]


@pytest.mark.parametrize(("wrong", "error", "parts"), WRONG)
def test_message(wrong: Callable[[], object], error: type[GCPError], parts: list[str]) -> None:
    with pytest.raises(error) as caught:
        wrong()
    message = str(caught.value)
    for part in parts:
        assert part in message
    assert "\n" not in message


@pytest.mark.parametrize("name", SPECTRAL)
def test_one_position(name: str) -> None:
    with pytest.raises(ShapeError, match=r"two positions or more.*1x1.*last_stride"):
        create_pooling(name, 8)(noise(2, 8, 1, 1))


@pytest.mark.parametrize("shape", [(8,), (8, 4), (1, 2, 8, 2, 2, 2)])
@pytest.mark.parametrize("name", SPECTRAL)
def test_wrong_number_of_dimensions(name: str, shape: tuple[int, ...]) -> None:
    with pytest.raises(ShapeError, match=r"\(B, C, H, W\).*got shape \(" + ", ".join(map(str, shape))):
        create_pooling(name, 8)(noise(*shape))


@pytest.mark.parametrize("channels", [4, 16])
@pytest.mark.parametrize("name", list_methods())
def test_wrong_number_of_channels(name: str, channels: int) -> None:
    with pytest.raises(ShapeError, match=f"8.*{channels}|{channels}.*8"):
        create_pooling(name, 8)(noise(2, channels, 4, 4))


@pytest.mark.parametrize("name", list_methods())
def test_integers_are_refused(name: str) -> None:
    with pytest.raises(GCPError, match="int64"):
        create_pooling(name, 4)(torch.arange(100).reshape(1, 4, 5, 5))


@pytest.mark.parametrize("value", [float("nan"), float("inf"), float("-inf")])
@pytest.mark.parametrize("name", SPECTRAL)
def test_not_finite(name: str, value: float) -> None:
    x = noise(12, 3, 2, 2)
    x[4, 1, 0, 1] = value
    x[7] = value
    with pytest.raises(NonFiniteError, match="sample 4, 7 of 12") as caught:
        create_pooling(name, 3)(x)
    assert caught.value.samples == (4, 7)
    x[:] = value
    with pytest.raises(NonFiniteError, match=r"sample 0, 1, 2, 3, 4, 5, 6, 7, \.\.\. of 12"):
        create_pooling(name, 3)(x)


@pytest.fixture
def own_registry(monkeypatch: pytest.MonkeyPatch) -> None:
    """Methods registered in a test are gone after it."""
    monkeypatch.setattr(METHODS, "_entries", dict(METHODS._entries))


@dataclass(frozen=True)
class OwnOptions(SpectralOptions):
    """Options of a user's method."""

    strength: float = option(1.0, "factor of what lies off the diagonal", above=0)


def own_kernel(spectrum: Spectrum, options: OwnOptions) -> Loewner:
    """The exact kernel, damped off the diagonal."""
    return Loewner(spectrum.with_limits(options.strength * spectrum.divided_differences()))


@pytest.mark.usefixtures("own_registry")
@pytest.mark.parametrize("kernel", [own_kernel, f"{__name__}:own_kernel"])
def test_own_method(kernel: str | Callable[[Spectrum, OwnOptions], Loewner]) -> None:
    register_method("own", options=OwnOptions, kernel=kernel, summary="a user's")
    assert list_methods()[-1] == "own"
    x, gradient = noise(2, 6, 4, 4), grad_out(6, 2)
    y, grad = forward_backward(pooling("own", 6, strength=0.5), x, gradient)
    assert torch.equal(y, pooling("lyapunov", 6)(x))
    expected = dense_gradient(x, gradient, lambda a, b, i, j: 0.5 / (a**0.5 + b**0.5))
    assert relative_error(grad, expected) < 1e-10
    with pytest.raises(OptionError, match="strength must be greater than 0"):
        create_pooling("own", 6, strength=-1)
    with pytest.raises(UnknownNameError, match="own"):
        create_pooling("owm", 6)
    for name in ("logm", "power", "seb"):  # take any kernel of a function, registered whenever
        _, grad = forward_backward(create_pooling(name, 6, kernel="own"), x, gradient)
        assert torch.equal(grad, forward_backward(create_pooling(name, 6, kernel="lyapunov"), x, gradient)[1])
        with pytest.raises(OptionError, match=r"kernel must be one of lorentz, .* own, got 'owm' \(did you mean 'own'"):
            create_pooling(name, 6, kernel="owm")


@pytest.mark.usefixtures("own_registry")
def test_own_method_with_the_shared_options() -> None:
    register_method("plain", kernel="gcp.methods.lyapunov:lyapunov")
    assert option_names(METHODS.get("plain").options) == option_names(SpectralOptions)
    assert create_pooling("plain", 8, reduced_channels=4)(noise(2, 8, 3, 3).float()).shape == (2, 10)


@pytest.mark.usefixtures("own_registry")
def test_own_layer() -> None:
    class MaxPooling(torch.nn.Module):
        def __init__(self, in_channels: int, info: object, options: object) -> None:
            super().__init__()
            self.out_features = in_channels

        def forward(self, features: torch.Tensor) -> torch.Tensor:
            return features.amax((2, 3))

    register_method("max", layer=MaxPooling)
    x = noise(2, 8, 3, 3)
    assert torch.equal(create_pooling("max", 8)(x), x.amax((2, 3)))
    with pytest.raises(OptionError, match="'max' is no spectral method"):
        spectral_method("max")


@pytest.mark.usefixtures("own_registry")
def test_taken_name() -> None:
    before = METHODS.get("pade")
    with pytest.raises(OptionError, match="'pade' is registered already; choose another name"):
        register_method("pade", kernel=own_kernel)
    assert METHODS.get("pade") is before
    register_method("own", options=OwnOptions, kernel=own_kernel)
    register_method("own", options=OwnOptions, kernel=own_kernel)  # a module imported twice
    assert list_methods().count("own") == 1
