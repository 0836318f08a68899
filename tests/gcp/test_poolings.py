"""What holds for every pooling in the registry, spectral or not."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

import gcp
from gcp.covariance import covariance_root, spectral_method
from gcp.errors import OptionError, ShapeError
from gcp.features import is_marked
from gcp.methods import METHODS, CovarianceOptions, list_methods
from gcp.options import option_names
from gcp.pooling.factory import create_pooling
from gcp.pooling.triangle import Vectorisation
from tests.gcp.helpers import SPECTRAL, forward_backward, noise, relative_error

ALL = list_methods()
COVARIANCE = [name for name in ALL if issubclass(METHODS.get(name).options, CovarianceOptions)]
OTHERS = [name for name in ALL if name not in SPECTRAL]
CENTRED = [name for name in COVARIANCE if name != "bilinear"]
SHAPES = [(3, 7, 2, 2), (3, 5, 4, 4)]


def outcome(name: str, x: Tensor) -> tuple[Tensor, Tensor]:
    torch.manual_seed(0)  # of the weights some have
    layer = create_pooling(name, x.shape[1]).eval()  # where nothing is left to chance
    gradient = noise(1, int(layer.out_features), seed=7).expand(len(x), -1)
    return forward_backward(layer, x, gradient)


def test_which_poolings_are_which() -> None:
    assert set(ALL) - set(COVARIANCE) == {"average", "compact_bilinear", "cross_covariance"}
    assert set(SPECTRAL) <= set(COVARIANCE)


@pytest.mark.parametrize("reduced", [None, 3])
@pytest.mark.parametrize("name", ALL)
def test_sequences_are_maps_without_a_second_side(name: str, reduced: int | None) -> None:
    layer = create_pooling(name, 6, reduced).double().eval()
    x = noise(4, 6, 3, 4)
    assert relative_error(layer(x.flatten(2)), layer(x)) < 1e-12  # products in another order
    for wrong in (noise(4, 6), noise(4, 6, 2, 2, 2, 2), noise(4, 5, 3, 4), noise(4, 5, 12), noise(6, 12)):
        with pytest.raises(ShapeError):
            layer(wrong)


@pytest.mark.parametrize("reduced", [None, 3])
@pytest.mark.parametrize("name", ALL)
def test_clips_and_tokens_are_maps_of_their_positions(name: str, reduced: int | None) -> None:
    """Value and gradient of (B, C, T, H, W), and of (B, N, C) where the layout says so: nothing is guessed."""
    torch.manual_seed(0)
    layer = create_pooling(name, 6, reduced).double()
    tokens = create_pooling(name, 6, reduced, layout="tokens").double()
    tokens.pooling.load_state_dict(layer.state_dict())
    x = noise(4, 6, 2, 3, 2)
    assert tokens.out_features == layer.out_features
    gradient = noise(4, int(layer.out_features), seed=7)
    y, grad = forward_backward(layer, x.flatten(2), gradient)
    clip_y, clip_grad = forward_backward(layer, x, gradient)
    token_y, token_grad = forward_backward(tokens, x.flatten(2).mT, gradient)
    # Sums in another order: 1e-13 of values; the gradients of eigenvectors divide by gaps of 1e-2 and less.
    for found, expected in ((clip_y, y), (token_y, y), (clip_grad.flatten(2), grad), (token_grad.mT, grad)):
        assert relative_error(found, expected) < 1e-10
    for wrong in (noise(4, 6), noise(4, 6, 3, 4), noise(4, 12, 5)):
        with pytest.raises(ShapeError):
            tokens(wrong)
    with pytest.raises(ShapeError, match=r'this layer pools 6 channels, got .* say layout="tokens"'):
        layer(noise(4, 12, 6))
    with pytest.raises(OptionError, match="layout must be one of channels_first, tokens, got 'token'"):
        create_pooling(name, 6, layout="token")


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("name", OTHERS)
def test_samples_do_not_influence_each_other(name: str, shape: tuple[int, ...]) -> None:
    """A sample's value and gradient are the same alone, and beside huge, tiny and empty ones."""
    x = noise(*shape)
    alone = outcome(name, x[:1])
    for factor in (1.0, 1e8, 1e-8, 0.0):
        beside = outcome(name, torch.cat([x[:1], factor * x[1:]]))
        for part, expected in zip(beside, alone, strict=True):
            assert relative_error(part[:1], expected) < 1e-11


@pytest.mark.parametrize("name", [name for name in OTHERS if name not in ("seb", "logm", "power", "cross_covariance")])
def test_a_sample_that_is_not_finite_keeps_it_to_itself(name: str) -> None:
    x = noise(3, 5, 3, 3)
    broken = x.clone()
    broken[1, 2] = torch.nan
    y, grad = outcome(name, broken)
    expected_y, expected_grad = outcome(name, x)
    for part, expected in ((y, expected_y), (grad, expected_grad)):
        assert relative_error(part[[0, 2]], expected[[0, 2]]) < 1e-13
    assert not y[1].isfinite().all()


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("name", OTHERS)
def test_zero_and_constant_samples(name: str, dtype: torch.dtype, shape: tuple[int, ...]) -> None:
    x = noise(*shape).to(dtype)
    x[0] = 0
    x[1] = 10 * torch.rand(shape[1], 1, 1, generator=torch.Generator().manual_seed(0))
    y, grad = outcome(name, x)
    assert y.isfinite().all()
    assert grad.isfinite().all()
    assert grad[2].abs().max() > 0
    if name in CENTRED:
        assert grad[:2].abs().max() == 0


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("name", OTHERS)
def test_autocast_is_left_alone(name: str, shape: tuple[int, ...]) -> None:
    x = noise(*shape).float()
    expected = outcome(name, x)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        found = outcome(name, x)
    for part, other in zip(found, expected, strict=True):
        assert torch.equal(part, other)


@pytest.mark.parametrize("name", [name for name in OTHERS if name not in ("logm", "seb", "cholesky")])
def test_scale(name: str) -> None:
    """Homogeneous, of degree 2, 1 or 0; but logm and cholesky add 2 log(s), and seb's literal gain depends on it."""
    degree = {"bilinear": 0, "compact_bilinear": 0, "dropcov": 2}.get(name, 1)
    x = noise(2, 6, 3, 3)
    y, grad = outcome(name, x)
    for scale in (1e-6, 1e6):
        scaled_y, scaled_grad = outcome(name, scale * x)
        assert relative_error(scaled_y / scale**degree, y) < 1e-6
        assert relative_error(scaled_grad * scale ** (1 - degree), grad) < 1e-5


@pytest.mark.parametrize("name", CENTRED)
def test_a_constant_added_to_a_channel_changes_nothing(name: str) -> None:
    x = noise(2, 6, 3, 3)
    y, grad = outcome(name, x)
    moved_y, moved_grad = outcome(name, x + noise(6, 1, 1))
    assert relative_error(moved_y, y) < 1e-11
    assert relative_error(moved_grad, grad) < 1e-9
    assert grad.mean((2, 3)).abs().max() < 1e-12 * grad.abs().max()


@pytest.mark.parametrize("name", COVARIANCE)
def test_vectorisation(name: str) -> None:
    x = noise(2, 5, 3, 3)
    layers = {form: create_pooling(name, 5, vectorisation=form).eval() for form in ("upper", "isometric", "full")}
    vectors = {form: layer(x).detach() for form, layer in layers.items()}
    assert {form: layer.out_features for form, layer in layers.items()} == {"upper": 15, "isometric": 15, "full": 25}
    assert {form: vector.shape[1] for form, vector in vectors.items()} == {"upper": 15, "isometric": 15, "full": 25}
    matrix = vectors["full"].reshape(2, 5, 5)
    assert relative_error(matrix.mT, matrix) < 1e-14
    assert relative_error(vectors["isometric"].norm(dim=1), matrix.flatten(1).norm(dim=1)) < 1e-14
    row, column = torch.triu_indices(5, 5)
    upper = matrix[:, row, column]
    if name == "bilinear":  # unit length comes after
        upper = upper / upper.norm(dim=1, keepdim=True)
    assert relative_error(vectors["upper"], upper) < 1e-14
    assert torch.equal(create_pooling(name, 5).eval()(x).detach(), vectors["upper"])


def test_isometric_factor_and_gradient() -> None:
    vectorise = Vectorisation(2, "isometric")
    assert vectorise(torch.tensor([[1.0, 2.0], [2.0, 3.0]])).tolist() == pytest.approx([1, 2 * 2**0.5, 3])
    for form in ("upper", "isometric", "full"):
        assert torch.autograd.gradcheck(Vectorisation(3, form), noise(2, 3, 3).requires_grad_())


@pytest.mark.parametrize("form", ["upper", "isometric", "full"])
def test_gradient_of_a_matrix_that_cannot_but_be_symmetric(form: str) -> None:
    vectorise = Vectorisation(3, form)

    def of_symmetric(A: Tensor) -> Tensor:
        return vectorise(A + A.mT, symmetric=True)

    A = noise(2, 3, 3).requires_grad_()
    assert torch.autograd.gradcheck(of_symmetric, A, check_forward_ad=True, check_batched_grad=True)
    assert torch.autograd.gradgradcheck(of_symmetric, A)
    S = (A + A.mT).detach().requires_grad_()
    (grad,) = torch.autograd.grad(vectorise(S, symmetric=True).square().sum(), S)
    assert torch.equal(grad, grad.mT)
    assert is_marked(grad) == (form != "full")


def test_a_gradient_changed_on_its_way_is_taken_for_what_it_is() -> None:
    """A hook that makes it lopsided, in place or not: `CovarianceFunction` must not take it for symmetric."""
    method = spectral_method("lyapunov")
    x = noise(2, 4, 1, 3)
    vectorise = Vectorisation(4)

    def gradient(change) -> Tensor:
        leaf = x.clone().requires_grad_()
        Z = covariance_root(leaf, method)
        Z.register_hook(change)
        vectorise(Z, symmetric=True).square().sum().backward()
        return leaf.grad

    weights = noise(4, 4, seed=3)
    in_place, out_of_place = gradient(lambda G: G.mul_(weights)), gradient(lambda G: G * weights)
    assert torch.equal(in_place, out_of_place)
    leaf = x.clone().requires_grad_()
    Z = covariance_root(leaf, method)
    G = torch.autograd.grad(vectorise(Z, symmetric=True).square().sum(), Z, retain_graph=True)[0] * weights
    (expected,) = torch.autograd.grad(Z, leaf, (G + G.mT) / 2)
    torch.testing.assert_close(in_place, expected)


def test_vectorisation_mistakes() -> None:
    with pytest.raises(OptionError, match="vectorisation must be one of upper, isometric, full, got 'lower'"):
        create_pooling("isqrt", 4, vectorisation="lower")
    with pytest.raises(OptionError, match="vectorisation is an option of pooling layers"):
        gcp.spectral_function(torch.eye(3), vectorisation="full")


@pytest.mark.parametrize("name", [name for name in OTHERS if name in CENTRED])
def test_shapes_that_do_not_work(name: str) -> None:
    with pytest.raises(ShapeError, match="two positions or more"):
        create_pooling(name, 4)(noise(2, 4, 1, 1))
    with pytest.raises(ShapeError, match=r"must be \(B, C, H, W\)"):
        create_pooling(name, 4)(noise(2, 4))


@pytest.mark.parametrize("name", OTHERS)
def test_options_show_and_state_round_trips(name: str) -> None:
    layer = create_pooling(name, 4).eval()
    for option in option_names(METHODS.get(name).options):
        assert f"{option}=" in repr(layer)
    again = create_pooling(name, 4).eval()
    again.load_state_dict(layer.state_dict())
    x = noise(2, 4, 3, 3)
    assert torch.equal(again(x), layer(x))


@pytest.mark.parametrize("name", ALL)
def test_deepcopy_and_float64_module(name: str) -> None:
    import copy

    layer = copy.deepcopy(create_pooling(name, 4)).double()
    assert layer(noise(2, 4, 3, 3)).dtype == torch.float64


@pytest.mark.parametrize("name", ["isqrt", "mpa", "mtp", "cholesky", "dropcov", "bilinear", "compact_bilinear"])
def test_export_and_vmap(name: str) -> None:
    layer = create_pooling(name, 5).eval()
    x = noise(3, 5, 3, 3).float()
    program = torch.export.export(layer, (x,))
    assert torch.allclose(program.module()(x), layer(x), atol=1e-5)
    single = torch.func.vmap(lambda sample: layer(sample[None])[0])(x)
    assert torch.allclose(single, layer(x), atol=1e-6)
