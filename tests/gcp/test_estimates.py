"""Covariances otherwise estimated: weights and masks of positions, second moments, shrinkage; in every method."""

from __future__ import annotations

import pytest
import torch
from sklearn.covariance import ledoit_wolf as ledoit_wolf_of_scikit_learn
from torch import Tensor, nn
from torch.autograd import gradcheck, gradgradcheck

import gcp
from gcp.errors import DerivativeError, DomainError, DtypeError, GCPError, NonFiniteError, OptionError, ShapeError
from gcp.estimate import as_features, ledoit_wolf, moment_root
from gcp.methods import METHODS, EstimateOptions, list_methods, register_method
from gcp.options import option_names
from gcp.pooling.factory import create_pooling
from gcp.position_weights import shares
from tests.gcp.helpers import SPECTRAL, forward_backward, noise, relative_error

ALL = list_methods()
ESTIMATED = [name for name in ALL if issubclass(METHODS.get(name).options, EstimateOptions)]
ROOTS = [name for name in ESTIMATED if name not in SPECTRAL]
# pi and topn treat what a shift adds to all eigenvalues as the null space's, which no matrix tells them.
OF_MATRICES = [name for name in SPECTRAL if name not in ("pi", "topn")]
SHAPES = [(2, 5, 9), (2, 7, 4)]  # dense and Gram path
ESTIMATES: dict[str, dict[str, object]] = {
    "covariance": {},
    "second moment": {"centred": False},
    "shrunk": {"shrinkage": 0.2},
    "Ledoit-Wolf": {"ledoit_wolf": True},
    "shrunk second moment": {"centred": False, "ledoit_wolf": True},
}


def estimated(x: Tensor, weights: Tensor | None = None, centred: bool = True, shrinkage: float = 0.0,
              ledoit_wolf: bool = False) -> Tensor:  # fmt: skip
    """The matrix as its definition says, position by position: (B, C, N) to (B, C, C)."""
    batch, channels, positions = x.shape
    p = x.new_full((batch, positions), 1 / positions) if weights is None else weights / weights.sum(1, keepdim=True)
    mean = torch.einsum("bcn,bn->bc", x, p) if centred else x.new_zeros(batch, channels)
    y = x - mean[..., None]
    outer = torch.einsum("bcn,bdn->bncd", y, y)
    P = torch.einsum("bncd,bn->bcd", outer, p)
    target = P.diagonal(dim1=1, dim2=2).mean(1)[:, None, None] * torch.eye(channels, dtype=x.dtype)
    a: Tensor | float = shrinkage
    if ledoit_wolf:
        by_chance = (p**2 * (outer - P[:, None]).square().sum((2, 3))).sum(1)
        a = (by_chance / (P - target).square().sum((1, 2))).clamp(max=1)[:, None, None]
    return (1 - a) * P + a * target


def inputs(*shape: int) -> tuple[Tensor, Tensor]:
    x = noise(*shape) + 0.5
    return x.requires_grad_(), (noise(shape[0], *shape[2:], seed=3).abs() + 0.1).requires_grad_()


@pytest.mark.parametrize(
    ("shape", "estimate"), [(SHAPES[0], "covariance"), *((shape, "shrunk second moment") for shape in SHAPES),
                            *(pytest.param(SHAPES[1], each, marks=pytest.mark.slow) for each in ESTIMATES)],
)  # fmt: skip
@pytest.mark.parametrize("name", OF_MATRICES)
def test_spectral_methods_on_both_paths(name: str, shape: tuple[int, ...], estimate: str) -> None:
    """Value and gradients by features and weights: those of the same method on the matrix by its definition."""
    options = ESTIMATES[estimate]
    x, weights = inputs(*shape)
    gradient = noise(shape[0], shape[1], shape[1], seed=5)
    expected = gcp.spectral_function(estimated(x, weights, **options), "sqrt", name, precision="float64")
    wanted = torch.autograd.grad(expected, (x, weights), gradient)
    for path in ("gram", "dense"):
        chosen = {"precision": "float64", "path": path, **options}
        Z = gcp.covariance_function(x, "sqrt", name, weights=weights, **chosen)
        found = torch.autograd.grad(Z, (x, weights), gradient)
        for part, other in zip((Z.detach(), *found), (expected.detach(), *wanted), strict=True):
            assert relative_error(part, other) < 1e-10  # gaps of 1e-2 between eigenvalues


@pytest.mark.parametrize("name", SPECTRAL)
def test_shrinkage_is_a_relative_shift(name: str) -> None:
    """(1 - a) P + a m I = P' + a/(1 - a) m' I with P' = (1 - a) P, what eps already did, of every method."""
    x = noise(2, 6, 9).requires_grad_()
    gradient = noise(2, 6, 6, seed=5)
    for alpha in (0.5, 0.3):
        both = (
            gcp.covariance_function(x, "power", name, alpha=alpha, shrinkage=0.2, precision="float64"),
            gcp.covariance_function(0.8**0.5 * x, "power", name, alpha=alpha, eps=0.25, precision="float64"),
        ) if METHODS.get(name).functions is None else (
            gcp.covariance_function(x, "sqrt", name, shrinkage=0.2, precision="float64"),
            gcp.covariance_function(0.8**0.5 * x, "sqrt", name, eps=0.25, precision="float64"),
        )  # fmt: skip
        grads = [torch.autograd.grad(Z, x, gradient)[0] for Z in both]
        assert relative_error(both[0].detach(), both[1].detach()) < 1e-13
        assert relative_error(grads[0], grads[1]) < 1e-11


@pytest.mark.parametrize(("f", "options"), [
    ("log", {"eps": 1e-3}), ("log", {"eps": 1e-3, "relative": False}), ("inverse_sqrt", {"eps": 0.1}), ("exp_neg", {}),
])  # fmt: skip
def test_other_functions_with_shifts_of_their_own(f: str, options: dict[str, object]) -> None:
    x, weights = inputs(2, 4, 5)
    for estimate in ({"shrinkage": 0.3}, {"ledoit_wolf": True}):
        M = estimated(x, weights, **estimate)
        expected = gcp.spectral_function(M, f, **options)
        Z = gcp.covariance_function(x, f, weights=weights, precision="float64", **estimate, **options)
        assert relative_error(Z.detach(), expected.detach()) < 1e-13
        gradient = noise(2, 4, 4, seed=5)
        for part, other in zip(*(torch.autograd.grad(each, (x, weights), gradient) for each in (Z, expected)),
                               strict=True):  # fmt: skip
            assert relative_error(part, other) < 1e-11


def test_a_learned_exponent_is_shrunk_too() -> None:
    """Two parameters, the exponent's gradient and the shift's."""
    x, weights = inputs(2, 4, 6)
    alpha = torch.tensor(0.4, dtype=torch.float64, requires_grad=True)

    Z = gcp.covariance_function(x, "power", weights=weights, alpha=alpha, ledoit_wolf=True, precision="float64")
    expected = gcp.spectral_function(estimated(x, weights, ledoit_wolf=True), "power", alpha=alpha)
    assert relative_error(Z.detach(), expected.detach()) < 1e-13
    gradient = noise(2, 4, 4, seed=5)
    for part, other in zip(*(torch.autograd.grad(each, (x, weights, alpha), gradient) for each in (Z, expected)),
                           strict=True):  # fmt: skip
        assert relative_error(part, other) < 1e-11


@pytest.mark.parametrize("estimate", ESTIMATES)
@pytest.mark.parametrize("name", ROOTS)
def test_roots_by_products(name: str, estimate: str) -> None:
    """The same layer on plain features of the wanted covariance, of another make: its Cholesky factor's."""
    options = ESTIMATES[estimate]
    x, weights = inputs(2, 5, 12)
    M = estimated(x, weights, **options)
    layer = create_pooling(name, 5, **options).double().eval()
    plain = create_pooling(name, 5).double().eval()
    plain.load_state_dict(layer.state_dict())
    factor = torch.linalg.cholesky(M)
    same = torch.cat([factor, -factor], -1) * 5**0.5  # of mean 0
    gradient = noise(2, int(layer.out_features), seed=5)
    y, expected = layer(x, weights), plain(same)
    assert relative_error(y.detach(), expected.detach()) < 1e-12
    found, wanted = (torch.autograd.grad(each, (x, weights), gradient) for each in (y, expected))
    for part, other in zip(found, wanted, strict=True):
        assert relative_error(part, other) < 1e-9


@pytest.mark.parametrize("name", ALL)
def test_weights_of_one_count_all_positions(name: str) -> None:
    torch.manual_seed(0)
    layer = create_pooling(name, 5).double().eval()
    x = noise(2, 5, 3, 4)
    assert relative_error(layer(x, torch.ones(2, 3, 4)).detach(), layer(x).detach()) < 1e-12
    assert relative_error(layer(x, torch.full((2, 12), True)).detach(), layer(x).detach()) < 1e-12


@pytest.mark.parametrize("name", ALL)
def test_scale_of_the_weights_does_not_matter(name: str) -> None:
    torch.manual_seed(0)
    layer = create_pooling(name, 5).double().eval()
    x, weights = (each.detach() for each in inputs(2, 5, 7))
    for scale in (1e-300, 1e300):
        assert relative_error(layer(x, weights * scale).detach(), layer(x, weights).detach()) < 1e-12


@pytest.mark.parametrize(
    ("name", "reduced"),
    [*((name, None) for name in ALL),
     *(pytest.param(name, 4, marks=[] if name == "pade" else pytest.mark.slow) for name in ALL)],
)  # fmt: skip
def test_padding_changes_nothing(name: str, reduced: int | None) -> None:
    """Padded samples equal the unpadded ones, and not a bit depends on what stands in the padding, forward or back."""
    torch.manual_seed(0)
    layer = create_pooling(name, 5, reduced).double().eval()
    x = noise(2, 5, 9)
    mask = torch.zeros(2, 9, dtype=torch.bool)
    mask[0, [0, 2, 3, 5, 6]], mask[1, :7] = True, True
    gradient = noise(2, int(layer.out_features), seed=5)
    results = []
    for training in (True, False) if reduced else (False,):
        layer.train(training)
        for padding in (1e300, torch.nan):
            filled = torch.where(mask[:, None], x, padding)
            state = {key: value.clone() for key, value in layer.state_dict().items()}
            y, grad = forward_backward(lambda each: layer(each, mask), filled, gradient)  # type: ignore[arg-type]
            buffers = [value.clone() for value in layer.state_dict().values()]
            layer.load_state_dict(state)
            results.append((y, grad, *buffers))
            for part, other in zip(results[-1], results[-2 if padding != padding else -1], strict=True):
                assert torch.equal(part, other)
            assert grad.masked_select(~mask[:, None]).abs().max() == 0
        y, grad, *_ = results[-1]
        if reduced is None or not training:  # in training batch norm joins the samples: below
            for sample in range(2):
                alone_y, alone_grad = forward_backward(
                    layer, x[sample : sample + 1, :, mask[sample]], gradient[sample : sample + 1]
                )
                assert relative_error(y[sample : sample + 1], alone_y) < 1e-12
                assert relative_error(grad[sample][:, mask[sample]][None], alone_grad) < 1e-9


def test_padding_stays_out_of_batch_normalisation() -> None:
    torch.manual_seed(0)
    layer = create_pooling("lyapunov", 5, 3).double()
    x, mask = noise(2, 5, 9), torch.rand(2, 9, generator=torch.Generator().manual_seed(0)) > 0.3
    layer(x, mask)
    norm = layer.reduction[1]
    convolved = torch.einsum("oc,bcn->bno", layer.reduction[0].weight[:, :, 0, 0], x)[mask]
    assert relative_error(norm.running_mean, 0.1 * convolved.mean(0)) < 1e-12
    assert relative_error(norm.running_var, 0.9 + 0.1 * convolved.var(0)) < 1e-12


@pytest.mark.parametrize(
    "estimate",
    [pytest.param(each, marks=[] if each == "shrunk second moment" else pytest.mark.slow) for each in ESTIMATES],
)
def test_gradients(estimate: str) -> None:
    """By features and weights, on both paths, of full and of less rank."""
    options = ESTIMATES[estimate]
    for shape in ((1, 2, 4), (1, 4, 3)):
        x, weights = inputs(*shape)
        layer = create_pooling("lyapunov", shape[1], precision="float64", **options)
        assert gradcheck(layer, (x, weights))


@pytest.mark.slow
def test_second_derivatives_by_features_and_weights() -> None:
    x, weights = inputs(2, 3, 6)
    for options in ({}, {"centred": False}):
        layer = create_pooling("lyapunov", 3, precision="float64", **options)
        assert gradgradcheck(lambda x, w, layer=layer: layer(x, w).square(), (x, weights))
    shrinking = create_pooling("lyapunov", 3, ledoit_wolf=True)
    (grad,) = torch.autograd.grad(shrinking(x).sum(), x, create_graph=True)
    with pytest.raises(DerivativeError):
        grad.sum().backward()


def test_ledoit_wolf_is_that_of_scikit_learn() -> None:
    for shape in ((2, 5, 9), (2, 7, 4), (1, 3, 200), (1, 4, 2)):
        x = noise(*shape) * torch.arange(1.0, shape[1] + 1, dtype=torch.float64)[:, None] + 1
        for centred in (True, False):
            found = ledoit_wolf(moment_root(x, None, centred)).flatten()
            for sample, a in zip(x, found, strict=True):
                _, expected = ledoit_wolf_of_scikit_learn(sample.T.numpy(), assume_centered=not centred)
                assert float(a) == pytest.approx(expected, abs=1e-12)


@pytest.mark.parametrize("name", ESTIMATED)
@pytest.mark.parametrize("options", [{"shrinkage": 0.1}, {"shrinkage": 1.0}, {"ledoit_wolf": True}, {"centred": False}])
def test_hard_samples(name: str, options: dict[str, object]) -> None:
    """Zero, constant, rank one, tied and badly scaled: finite, in float64 and float32."""
    x = noise(7, 4, 6)
    x[0] = 0
    x[1] = noise(4, 1, seed=2)
    x[2] = x[2, :1] * noise(4, 1, seed=3)
    x[3] = torch.cat([torch.eye(4), -torch.eye(4)], 1)[:, :6]
    size = 1e15 if name == "dropcov" else 1e30  # float32 does not hold the square of that
    x[4] /= size
    x[5] *= size
    for dtype in (torch.float64, torch.float32):
        layer = create_pooling(name, 4, **options).eval()
        y, grad = forward_backward(layer, x.to(dtype), noise(7, int(layer.out_features), seed=5))
        assert y.isfinite().all()
        assert grad.isfinite().all()
        if name not in ("logm", "cholesky"):
            assert y[0].abs().max() == 0


@pytest.mark.parametrize("name", ESTIMATED)
def test_samples_do_not_influence_each_other(name: str) -> None:
    x, weights = (each.detach() for each in inputs(3, 5, 7))
    layer = create_pooling(name, 5, ledoit_wolf=True).eval()
    gradient = noise(3, int(layer.out_features), seed=5)
    x[1:] *= torch.tensor([1e8, 1e-8], dtype=torch.float64)[:, None, None]
    y, grad = forward_backward(lambda each: layer(each, weights), x, gradient)  # type: ignore[arg-type]
    alone = forward_backward(lambda each: layer(each, weights[:1]), x[:1], gradient[:1])  # type: ignore[arg-type]
    assert relative_error(y[:1], alone[0]) < 1e-12
    assert relative_error(grad[:1], alone[1]) < 1e-11


@pytest.mark.slow
@pytest.mark.parametrize("name", ["pade", "isqrt"])
def test_compiled_exported_mapped(name: str) -> None:
    torch._dynamo.reset()
    layer = create_pooling(name, 5, centred=False, ledoit_wolf=True)
    x, mask = noise(3, 5, 8).float(), torch.rand(3, 8, generator=torch.Generator().manual_seed(0)) > 0.3
    expected = layer(x, mask)
    compiled = torch.compile(layer, fullgraph=True, backend="eager")
    assert relative_error(compiled(x, mask), expected) < 1e-5
    program = torch.export.export(layer, (x, mask))
    assert relative_error(program.module()(x, mask), expected) < 1e-5
    one_by_one = torch.func.vmap(lambda each, there: layer(each[None], there[None])[0])(x, mask)
    assert relative_error(one_by_one, expected) < 1e-5


def test_float32_far_from_zero_mean() -> None:
    """Centring is in float64, also of weighted positions: 1e-6, what float32 products cost, at a mean of 100."""
    x = (noise(2, 6, 12) + 100).float()
    weights = noise(2, 12, seed=3).abs().float()
    found = gcp.covariance_function(x, "sqrt", weights=weights, shrinkage=0.1)
    expected = gcp.spectral_function(estimated(x.double(), weights.double(), shrinkage=0.1))
    assert found.dtype == torch.float32
    assert relative_error(found, expected) < 2e-6


def test_not_finite_where_it_counts() -> None:
    x, weights = (each.detach() for each in inputs(3, 4, 6))
    x[1, 2, 3] = torch.nan
    with pytest.raises(NonFiniteError, match="sample 1 of 3"):
        create_pooling("pade", 4)(x, weights)
    layer = create_pooling("pade", 4, nonfinite="zero", ledoit_wolf=True)
    y, grad = forward_backward(lambda each: layer(each, weights), x, noise(3, 10))  # type: ignore[arg-type]
    assert y[1].abs().max() == grad[1].abs().max() == 0
    assert y.isfinite().all()
    assert grad.isfinite().all()
    weights[1, 3] = 0
    assert create_pooling("pade", 4)(x, weights).isfinite().all()


def test_weights_of_zero_get_no_gradient() -> None:
    x, weights = inputs(1, 3, 5)
    zeroed = weights.detach().clone()
    zeroed[0, 2] = 0
    zeroed.requires_grad_()
    create_pooling("lyapunov", 3, ledoit_wolf=True)(x, zeroed).sum().backward()
    assert zeroed.grad is not None
    assert zeroed.grad[0, 2] == 0
    assert zeroed.grad.isfinite().all()


MISTAKES = {
    "shape": (torch.ones(2, 5), ShapeError, r"weights must be \(2, 3, 4\), one for each position of features \(2, 5"),
    "batch": (torch.ones(1, 12), ShapeError, "weights must be"),
    "integers": (torch.ones(2, 12, dtype=torch.long), DtypeError, "bool .* or floating point, got int64"),
    "a list": ([1.0], DtypeError, "got list"),
    "negative": (-torch.ones(2, 12), DomainError, "weights of sample 0, 1 are negative"),
    "NaN": (torch.full((2, 12), torch.nan), NonFiniteError, "NaN or infinity in the weights of sample 0, 1"),
    "nothing": (torch.zeros(2, 12), DomainError, "leave such samples out"),
}


@pytest.mark.parametrize("name", ["pade", "isqrt", "average", "bilinear", "compact_bilinear"])
@pytest.mark.parametrize("mistake", MISTAKES)
def test_mistakes(mistake: str, name: str) -> None:
    weights, error, message = MISTAKES[mistake]
    for reduced in (None, 3):
        with pytest.raises(error, match=message):
            create_pooling(name, 5, reduced)(noise(2, 5, 3, 4).float(), weights)


def test_one_position_has_no_covariance() -> None:
    mask = torch.tensor([[True, False, False]])
    with pytest.raises(DomainError, match="2 positions or more"):
        create_pooling("pade", 4)(noise(1, 4, 3), mask)
    assert create_pooling("pade", 4, centred=False)(noise(1, 4, 3), mask).isfinite().all()
    assert create_pooling("pade", 4, centred=False)(noise(1, 4, 1)).isfinite().all()


def test_options_that_do_not_go_together() -> None:
    with pytest.raises(OptionError, match=r"shrinkage=0\.1 fixes the intensity that ledoit_wolf=true computes"):
        create_pooling("pade", 4, shrinkage=0.1, ledoit_wolf=True)
    with pytest.raises(OptionError, match="shrinkage must be at most 1"):
        create_pooling("pade", 4, shrinkage=1.5)
    for name in ALL:
        if name not in ESTIMATED:
            assert "shrinkage" not in option_names(METHODS.get(name).options)
            with pytest.raises(OptionError, match=f"method '{name}' has no option 'shrinkage'"):
                create_pooling(name, 4, shrinkage=0.1)
    with pytest.raises(OptionError, match="options of features"):
        gcp.spectral_function(torch.eye(3), shrinkage=0.1)
    with pytest.raises(OptionError, match="options of features"):
        gcp.Whitening(4, ledoit_wolf=True)


class Plain(nn.Module):
    """A layer of somebody else's, which takes features alone."""

    def __init__(self, in_channels: int, info: object, options: object) -> None:
        super().__init__()
        self.out_features = in_channels

    def forward(self, features: Tensor) -> Tensor:
        return features.flatten(2).mean(-1)


def test_a_layer_that_takes_no_weights_refuses_them() -> None:
    register_method("without_weights", layer=Plain, options=METHODS.get("average").options)
    try:
        for options in ({"reduced_channels": 3}, {"layout": "tokens"}):
            layer = create_pooling("without_weights", 4, **options)
            x = noise(2, 4, 4).float()
            assert layer(x).shape == (2, layer.out_features)
            with pytest.raises(OptionError, match="Plain takes no weights"):
                layer(x, torch.ones(2, 4))
    finally:
        METHODS._entries.pop("without_weights")


def test_features_of_a_second_moment() -> None:
    Y = noise(2, 3, 5) + 1
    X = as_features(Y)
    assert X.sum(-1).abs().max() < 1e-13
    assert relative_error(X @ X.mT / 6, Y @ Y.mT) < 1e-14
    assert issubclass(DomainError, GCPError)
    assert shares(torch.ones(2, 5), X[..., :5], X.dtype).share.sum() == pytest.approx(2)
