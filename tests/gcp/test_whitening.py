"""Batch whitening: what comes out is white, gradients, running statistics, groups, misuse."""

import pytest
import torch
from torch import nn
from torch.autograd import gradcheck

import gcp
from gcp import Whitening
from gcp.errors import DomainError, NonFiniteError, OptionError, ShapeError
from tests.gcp.helpers import SPECTRAL

SHAPES = {"vectors": (64, 6), "sequences": (8, 6, 9), "images": (8, 6, 5, 3)}


def mixed(*shape: int, seed: int = 0) -> torch.Tensor:
    """Correlated, off-centre features (B, C, ...) in float64."""
    generator = torch.Generator().manual_seed(seed)
    x = torch.randn(*shape, dtype=torch.float64, generator=generator)
    mix = torch.randn(shape[1], shape[1], dtype=torch.float64, generator=generator)
    offset = torch.arange(shape[1], dtype=torch.float64).view(-1, *(1,) * (len(shape) - 2))
    return torch.einsum("ij,bj...->bi...", mix, x) + offset


def covariance(x: torch.Tensor) -> torch.Tensor:
    values = x.movedim(1, 0).flatten(1)
    centred = values - values.mean(1, keepdim=True)
    return centred @ centred.mT / values.shape[1]


@pytest.mark.parametrize("shape", SHAPES.values(), ids=SHAPES)
def test_whitened_features_have_mean_zero_and_covariance_one(shape):
    y = Whitening(6, eps=1e-12).double()(mixed(*shape))
    assert y.shape == shape
    eye = torch.eye(6, dtype=torch.float64)
    # eps tr(P)/C over the least eigenvalue, about 1e-12 * 1e3
    torch.testing.assert_close(covariance(y), eye, rtol=0, atol=1e-8)
    torch.testing.assert_close(
        y.movedim(1, 0).flatten(1).mean(1), torch.zeros(6, dtype=torch.float64), rtol=0, atol=1e-9
    )


def test_whitening_is_symmetric_zca():
    x = mixed(64, 6)
    whitener = gcp.spectral_function(covariance(x), "inverse_sqrt", eps=1e-5)
    expected = (x - x.mean(0)) @ whitener
    torch.testing.assert_close(Whitening(6).double()(x), expected)


def test_white_input_is_left_alone():
    x = mixed(64, 6)
    once = Whitening(6, eps=1e-12).double()(x)
    torch.testing.assert_close(Whitening(6, eps=1e-12).double()(once), once, rtol=0, atol=1e-7)


def test_without_correlation_it_is_batch_normalisation():
    x = torch.tensor([[1.0, 1.0], [1.0, -1.0], [-1.0, 1.0], [-1.0, -1.0]], dtype=torch.float64) * torch.tensor(
        [3.0, 0.1]
    )
    torch.testing.assert_close(
        Whitening(2, eps=1e-12, relative=False).double()(x), nn.BatchNorm1d(2, eps=1e-12).double()(x), rtol=1e-9, atol=0
    )


@pytest.mark.parametrize("scale", [1e-8, 1e8])
def test_scale_of_the_input_does_not_matter(scale):
    x = mixed(64, 6)
    torch.testing.assert_close(Whitening(6).double()(scale * x), Whitening(6).double()(x), rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("shape", [(7, 3), (2, 3, 2, 2), (2, 4, 1, 1)])
@pytest.mark.parametrize("groups", [1, None])
def test_gradcheck_in_training(shape, groups):
    # (2, 4, 1, 1): fewer values than channels, the Gram path
    channels = shape[1]
    layer = Whitening(channels, eps=0.05, groups=groups or channels, track_running_stats=False).double()
    x = mixed(*shape).requires_grad_()
    assert gradcheck(
        lambda x, w, b: torch.func.functional_call(layer, {"weight": w, "bias": b}, x),
        (
            x,
            layer.weight,
            layer.bias,
        ),
    )


def test_gradcheck_in_eval():
    layer = Whitening(3).double()
    layer(mixed(16, 3))
    layer.eval()
    assert gradcheck(layer, mixed(2, 3).requires_grad_())


@pytest.mark.parametrize("method", SPECTRAL)
def test_every_method_whitens(method):
    x = mixed(32, 6).requires_grad_()
    options = {"fraction": 1.0} if method == "topn" else {}
    y = Whitening(6, method=method, **options).double()(x)
    torch.testing.assert_close(y, Whitening(6).double()(x))
    y.square().sum().backward()
    assert x.grad is not None
    assert x.grad.isfinite().all()


def test_running_statistics_and_eval():
    layer = Whitening(6, momentum=0.25, eps=1e-3).double()
    first, second = mixed(32, 6), mixed(32, 6, seed=1)
    eye = torch.eye(6, dtype=torch.float64)
    layer(first)
    layer(second)
    unbiased = [covariance(x) * 32 / 31 for x in (first, second)]
    expected = 0.75 * (0.75 * eye + 0.25 * unbiased[0]) + 0.25 * unbiased[1]
    torch.testing.assert_close(layer.running_covariance, expected[None])
    torch.testing.assert_close(layer.running_mean, 0.75 * 0.25 * first.mean(0) + 0.25 * second.mean(0))
    assert int(layer.num_batches_tracked) == 2

    layer.eval()
    kept = {name: value.clone() for name, value in layer.state_dict().items()}
    whitener = gcp.spectral_function(expected, "inverse_sqrt", eps=1e-3)
    torch.testing.assert_close(layer(first), (first - layer.running_mean) @ whitener)
    torch.testing.assert_close(layer(first)[:1], layer(first[:1]))
    for name, value in layer.state_dict().items():
        assert torch.equal(value, kept[name]), name


def test_without_momentum_the_mean_over_batches_is_tracked():
    layer = Whitening(6, momentum=None).double()
    batches = [mixed(32, 6, seed=seed) for seed in range(3)]
    for batch in batches:
        layer(batch)
    expected = sum(covariance(x) * 32 / 31 for x in batches) / 3
    torch.testing.assert_close(layer.running_covariance[0], expected)


def test_running_statistics_agree_with_batch_norm():
    x = mixed(8, 6, 5, 3)
    layer, reference = Whitening(6).double(), nn.BatchNorm2d(6).double()
    layer(x)
    reference(x)
    torch.testing.assert_close(layer.running_mean, reference.running_mean)
    torch.testing.assert_close(layer.running_covariance[0].diagonal(), reference.running_var)


def test_without_running_statistics_eval_uses_the_batch():
    layer = Whitening(6, track_running_stats=False).double()
    x = mixed(32, 6)
    torch.testing.assert_close(layer(x), layer.eval()(x))
    assert not list(layer.buffers())


def test_groups_are_whitened_separately():
    x = mixed(8, 6, 5, 3)
    parts = [Whitening(3).double()(part) for part in x.split(3, dim=1)]
    torch.testing.assert_close(Whitening(6, groups=2).double()(x), torch.cat(parts, 1))


def test_affine():
    x = mixed(8, 6, 5, 3)
    plain, layer = Whitening(6, affine=False).double(), Whitening(6).double()
    with torch.no_grad():
        layer.weight.copy_(torch.arange(6.0))
        layer.bias.fill_(2)
    torch.testing.assert_close(layer(x), plain(x) * torch.arange(6.0, dtype=torch.float64).view(6, 1, 1) + 2)
    assert not list(plain.parameters())


def test_state_dict_round_trip():
    layer, other = Whitening(6, groups=2), Whitening(6, groups=2)
    layer(mixed(32, 6).float())
    assert set(layer.state_dict()) == {"weight", "bias", "running_mean", "running_covariance", "num_batches_tracked"}
    other.load_state_dict(layer.state_dict())
    x = mixed(4, 6).float()
    torch.testing.assert_close(other.eval()(x), layer.eval()(x))
    layer.reset_running_stats()
    torch.testing.assert_close(layer.running_covariance, torch.eye(3).expand(2, 3, 3))
    assert int(layer.num_batches_tracked) == 0


def test_one_image_is_a_batch_but_one_value_is_none():
    y = Whitening(6, eps=1e-12).double()(mixed(1, 6, 5, 3))
    torch.testing.assert_close(covariance(y), torch.eye(6, dtype=torch.float64), rtol=0, atol=1e-8)
    for shape in ((1, 6), (1, 6, 1, 1)):
        with pytest.raises(ShapeError, match="two values per channel"):
            Whitening(6)(torch.ones(shape))
        assert Whitening(6).eval()(torch.ones(shape)).isfinite().all()


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize(
    "kind", ["constant", "zero", "one dead channel", "repeated channels", "fewer values than channels"]
)
def test_degenerate_channels_stay_finite(kind, dtype):
    x = mixed(16, 6, 2, 2).to(dtype)
    if kind in ("constant", "zero"):
        x = torch.full_like(x, 3 * (kind == "constant"))
    elif kind == "one dead channel":
        x[:, 2] = 1
    elif kind == "repeated channels":
        x[:, 3:] = x[:, :3]
    else:
        x = x[:3, :, :1, :1].clone()
    x.requires_grad_()
    layer = Whitening(6).to(dtype)
    y = layer(x)
    y.square().sum().backward()
    assert y.isfinite().all()
    assert x.grad is not None
    assert x.grad.isfinite().all()
    assert layer.eval()(x).isfinite().all()
    if kind in ("constant", "zero"):
        assert (y == 0).all()


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_and_autocast(dtype):
    x = mixed(64, 6).float()
    layer = Whitening(6, eps=1e-3)
    expected = layer(x.to(dtype).float())
    y = layer(x.to(dtype))
    assert y.dtype == dtype
    torch.testing.assert_close(y, expected.to(dtype))
    with torch.autocast("cpu", torch.bfloat16):
        torch.testing.assert_close(layer(x), layer(x.clone()))
        assert layer(x).dtype == torch.float32


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_a_network_in_half_precision_keeps_its_statistics(dtype):
    """A covariance rounded to 8 or 11 bits has negative eigenvalues."""
    for seed in range(10):
        x = mixed(256, 16, seed=seed).float()
        layer = Whitening(16, momentum=None)
        layer(x)
        expected = layer.eval()(x.to(dtype).float())
        layer.to(dtype)
        assert layer.running_covariance.dtype == torch.float32
        assert layer.weight.dtype == dtype
        y = layer(x.to(dtype))
        assert y.dtype == dtype
        torch.testing.assert_close(y, expected.to(dtype))
    with torch.device("meta"):  # built as Lightning builds a network for precision=bf16-true
        torch.set_default_dtype(dtype)
        try:
            assert Whitening(4).running_covariance.dtype == torch.float32
        finally:
            torch.set_default_dtype(torch.float32)


@pytest.mark.parametrize("assign", [False, True])
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16], ids=str)
def test_statistics_stored_in_half_precision_are_those_of_a_covariance(dtype, assign):
    """As of a file whose weights were halved to save room."""
    for seed in range(10):
        x = mixed(256, 16, seed=seed).float()
        x = x[:, :8] @ x[:8]  # of rank 8: rounding makes negative eigenvalues
        x = x / x.std()
        layer = Whitening(16, eps=0.1, momentum=None)
        layer(x)
        stored = {
            name: value.to(dtype) if value.is_floating_point() else value for name, value in layer.state_dict().items()
        }
        assert torch.linalg.eigvalsh(stored["running_covariance"].double()).min() < -1e-5
        other = Whitening(16, eps=0.1)
        other.load_state_dict(stored, assign=assign)
        assert other.running_mean.dtype == other.running_covariance.dtype == torch.float32
        assert stored["running_covariance"].dtype == dtype  # the caller's own are left alone
        # eps is above the rounding, of which a dozen are allowed
        torch.testing.assert_close(other.eval()(x), layer.eval()(x), rtol=0, atol=12 * 16 * torch.finfo(dtype).eps)
        usual = Whitening(16)
        usual.load_state_dict(stored, assign=assign)
        assert usual.eval()(x).isfinite().all()
        stored["running_covariance"] = -stored["running_covariance"]
        usual.load_state_dict(stored)
        with pytest.raises(DomainError, match="needs positive semi-definite matrices"):
            usual(x)


@pytest.mark.parametrize("shape", SHAPES.values(), ids=SHAPES)
@pytest.mark.parametrize("value", [torch.nan, torch.inf])
def test_a_sample_that_is_not_finite_is_left_out(shape, value):
    """Output, gradient and running statistics of the others are as if it had not been there."""
    x = mixed(*shape)
    spoilt = x.clone()
    spoilt[3, 1] = value
    others = torch.arange(len(x)) != 3
    layer, reference = Whitening(6, nonfinite="zero").double(), Whitening(6).double()
    with torch.no_grad():
        layer.bias.fill_(2)
        reference.bias.fill_(2)
    weights = torch.arange(x.numel(), dtype=torch.float64).view_as(x) % 7
    spoilt.requires_grad_()
    y, expected = layer(spoilt), reference(x[others].requires_grad_())
    torch.testing.assert_close(y[others], expected)
    assert (y[3] == 0).all()
    for name, buffer in reference.named_buffers():
        torch.testing.assert_close(dict(layer.named_buffers())[name], buffer)
    (grad,) = torch.autograd.grad((y * weights).sum(), spoilt)
    leaf = x[others].requires_grad_()
    (expected_grad,) = torch.autograd.grad((reference(leaf) * weights[others]).sum(), leaf)
    torch.testing.assert_close(grad[others], expected_grad)
    assert (grad[3] == 0).all()
    layer.eval()
    torch.testing.assert_close(layer(spoilt)[others], layer(x)[others])
    assert (layer(spoilt)[3] == 0).all()


def test_a_batch_of_nothing_finite_leaves_the_statistics_alone():
    layer = Whitening(6, nonfinite="zero", momentum=None)
    layer(mixed(32, 6).float())
    before = {name: value.clone() for name, value in layer.state_dict().items()}
    assert (layer(torch.full((4, 6), torch.nan)) == 0).all()
    for name, value in layer.state_dict().items():
        assert torch.equal(value, before[name]), name


@pytest.mark.parametrize("offset", [1e6, 1e6 + 0.3])
def test_a_constant_far_from_zero_is_nothing(offset):
    """Its mean in float32 is off by a rounding, which must not be taken for a deviation and whitened."""
    x = torch.full((32, 6), offset) * torch.arange(1, 7) / 3
    layer = Whitening(6)
    assert (layer(x) == 0).all()
    torch.testing.assert_close(layer.running_mean, 0.1 * x[0])
    torch.testing.assert_close(layer.running_covariance[0], 0.9 * torch.eye(6))
    assert (Whitening(6, groups=6)(x) == 0).all()
    x[:, :3] = mixed(32, 3).float()
    y = Whitening(6)(x)
    assert (y[:, 3:] == 0).all()
    torch.testing.assert_close(y[:, :3], Whitening(3, eps=5e-6)(x[:, :3]), rtol=1e-4, atol=1e-4)  # eps is of the mean


def test_variation_far_from_zero_is_whitened_to_the_digits_it_has():
    x = mixed(256, 6).float() + 1e5  # which float32 keeps to 0.008
    torch.testing.assert_close(Whitening(6)(x).double(), Whitening(6).double()(x.double()), rtol=1e-4, atol=1e-4)


def test_channels_last():
    x = mixed(8, 6, 5, 3)
    torch.testing.assert_close(
        Whitening(6).double()(x.contiguous(memory_format=torch.channels_last)), Whitening(6).double()(x)
    )


def test_training_step_compiles_into_one_graph():
    x = mixed(8, 6, 5, 3)
    layer = Whitening(6).double()
    compiled = torch.compile(Whitening(6).double(), fullgraph=True, backend="aot_eager")
    torch.testing.assert_close(compiled(x), layer(x))


def test_it_takes_the_place_of_batch_norm_in_a_network():
    torch.manual_seed(0)
    network = nn.Sequential(nn.Conv2d(3, 8, 3), Whitening(8), nn.ReLU(), nn.Flatten(), nn.Linear(8 * 16, 2))
    loss = network(torch.randn(4, 3, 6, 6)).square().mean()
    loss.backward()
    assert all(p.grad is not None and p.grad.isfinite().all() for p in network.parameters())
    assert "groups=1" in repr(network)


@pytest.mark.parametrize(
    ("call", "error", "says"),
    [
        (lambda: Whitening(6, groups=4), OptionError, "groups must divide"),
        (lambda: Whitening(0), OptionError, "groups must divide"),
        (lambda: Whitening(6, eps=0), OptionError, "eps must be greater than 0"),
        (lambda: Whitening(6, momentum=1.5), OptionError, "momentum"),
        (lambda: Whitening(6, method="topn", n=7), OptionError, "cannot keep n=7"),
        (lambda: Whitening(6, degree=3), OptionError, "no option 'degree'"),
        (lambda: Whitening(6)(torch.ones(4, 5)), ShapeError, "features must be"),
        (lambda: Whitening(6)(torch.full((4, 6), torch.nan)), NonFiniteError, "NaN or infinity"),
    ],
)
def test_misuse_is_named(call, error, says):
    with pytest.raises(error, match=says):
        call()
