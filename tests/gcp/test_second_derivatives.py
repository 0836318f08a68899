"""Second derivatives of every layer and every spectral function, asked for in every way: right, or refused."""

from __future__ import annotations

import contextlib
from collections.abc import Callable

import pytest
import torch
from torch import Tensor
from torch.autograd import gradgradcheck

import gcp
from gcp.covariance import spectral_method
from gcp.errors import DerivativeError, OptionError
from gcp.methods.lyapunov import lyapunov
from gcp.methods.topn import TopNOptions, kept
from gcp.spectral.maps import Custom, SquareRoot, list_functions
from gcp.spectral.method import SpectralMethod
from tests.gcp.helpers import SPECTRAL, noise
from tests.gcp.variants import Variant, label, layer, variants

Loss = Callable[[Tensor], Tensor]
SHAPES = [(1, 3, 2, 2), (1, 4, 1, 3)]  # full rank, and rank N - 1 < C


def twice(loss: Loss, x: Tensor) -> Tensor:
    """autograd.grad of autograd.grad, which never calls .backward()."""
    leaf = x.clone().requires_grad_()
    (gradient,) = torch.autograd.grad(loss(leaf), leaf, create_graph=True)
    if not gradient.requires_grad:
        return torch.zeros(x.numel(), x.numel(), dtype=x.dtype)
    rows = [torch.autograd.grad(entry, leaf, retain_graph=True)[0].flatten() for entry in gradient.flatten()]
    return torch.stack(rows)


ENTRIES: dict[str, Callable[[Loss, Tensor], Tensor]] = {
    "autograd.grad twice": twice,
    "torch.func.hessian": lambda loss, x: torch.func.hessian(loss)(x),
    "jacrev(grad)": lambda loss, x: torch.func.jacrev(torch.func.grad(loss))(x),
    "jacrev(jacrev)": lambda loss, x: torch.func.jacrev(torch.func.jacrev(loss))(x),
    "functional.hessian": lambda loss, x: torch.autograd.functional.hessian(loss, x),
    "functional.hessian, vectorised": lambda loss, x: torch.autograd.functional.hessian(loss, x, vectorize=True),
}


def differences(loss: Loss, x: Tensor, step: float = 1e-4) -> Tensor:
    """The Hessian by differences of fourth order of the gradient; good to about 1e-9."""

    def gradient(at: Tensor) -> Tensor:
        leaf = at.detach().clone().requires_grad_()
        return torch.autograd.grad(loss(leaf), leaf)[0].flatten()

    columns = []
    for unit in torch.eye(x.numel(), dtype=x.dtype):
        move = step * unit.reshape(x.shape)
        near, far = gradient(x + move) - gradient(x - move), gradient(x + 2 * move) - gradient(x - 2 * move)
        columns.append((8 * near - far) / (12 * step))
    return torch.stack(columns, 1)


def right_or_refused(loss: Loss, x: Tensor, reference: Loss, tolerance: float = 1e-6) -> set[str]:
    """What became of each way of asking: "right" or "refused"."""
    outcomes: set[str] = set()
    expected: Tensor | None = None
    for entry, ask in ENTRIES.items():
        try:
            found = ask(loss, x).reshape(x.numel(), x.numel())
        except DerivativeError:
            outcomes.add("refused")
            continue
        if expected is None:
            expected = differences(reference, x)
        assert (found - expected).abs().max() <= tolerance * expected.abs().max().clamp(min=1), entry
        outcomes.add("right")
    return outcomes


# Beside each method as it is: those of other branches; the rest says the same, slowly.
TELLING = {
    "cholesky relative=False", "dropcov probability=sample", "logm kernel=pade", "lyapunov path=dense",
    "lyapunov precision=float32", "power kernel=lyapunov learnable=False", "seb kernel=lyapunov reweight=False",
    "seb reweight=True",
}  # fmt: skip
CASES = [pytest.param(variant, shape, id=f"{label(variant)}-{shape}",
                      marks=pytest.mark.slow
                      if variant[1] and (shape == SHAPES[0] or label(variant) not in TELLING) else [])
         for variant in variants() for shape in SHAPES]  # fmt: skip


@pytest.mark.parametrize(("variant", "shape"), CASES)
def test_layers(variant: Variant, shape: tuple[int, ...]) -> None:
    """float32 decomposes to 1e-7, which the small eigenvalues of these maps amplify to 1e-4."""
    pool = layer(variant, shape[1], precision="float64", dimension=16).double()
    exact = layer((variant[0], variant[1] | ({"precision": "float64"} if "precision" in variant[1] else {})), shape[1])
    exact = exact.double() if "precision" in variant[1] else pool
    x = noise(*shape, seed=1)
    weights = noise(1, pool.out_features, seed=2)
    tolerance = {"float32": 1e-3, "mixed": 1e-5}.get(str(variant[1].get("precision")), 1e-6)

    def loss(pool: torch.nn.Module, power: int) -> Loss:
        return lambda x: (pool(x).pow(power) * weights).sum()

    for power in (1, 3):  # linear in the output, and not
        right_or_refused(loss(pool, power), x, loss(exact, power), tolerance)


@pytest.mark.parametrize(
    "variant",
    [
        pytest.param(variant, marks=pytest.mark.slow if variant[1] else [])
        for variant in variants()
        if "precision" not in variant[1]
    ],
    ids=label,
)
def test_gradgradcheck_of_layers(variant: Variant) -> None:
    pool = layer(variant, 3, precision="float64", dimension=16, heads=2, width=2).double()
    with contextlib.suppress(DerivativeError):
        assert gradgradcheck(lambda x: pool(x).pow(3), noise(1, 3, 2, 2, seed=1).requires_grad_())


@pytest.mark.parametrize("name", ["lyapunov", "isqrt", "bilinear", "average", "cholesky", "dropcov"])
def test_who_has_second_derivatives(name: str) -> None:
    pool, x = layer((name, {}), 3, precision="float64"), noise(1, 3, 2, 2, seed=1)
    assert twice(lambda x: pool(x).pow(3).sum(), x).any()


SINE = (torch.sin, torch.cos)
OPTIONS = {"power": {"alpha": 0.7}, "log": {"eps": 0.1}, "inverse_sqrt": {"eps": 0.1}}


@pytest.mark.parametrize("method", SPECTRAL)
@pytest.mark.parametrize("f", [*list_functions(), "sine"])
def test_functions(f: str, method: str) -> None:
    options = OPTIONS.get(f, {})
    P = noise(1, 3, 5, seed=3)
    P = P @ P.mT
    weights = noise(1, 3, 3, seed=4)
    for call, at in ((gcp.spectral_function, P), (gcp.covariance_function, noise(1, 3, 4, seed=5))):

        def loss(x: Tensor, call: Callable[..., Tensor] = call) -> Tensor:
            return (call(x, SINE if f == "sine" else f, method, **options) * weights).sum()

        try:
            loss(at)
        except OptionError:
            pytest.skip(f"{method} has no meaning for {f}")
        right_or_refused(loss, at, loss)


@pytest.mark.parametrize("inverse", [False, True])
@pytest.mark.parametrize("method", ["mpa", "mtp"])
def test_matrix_roots(method: str, inverse: bool) -> None:
    P = noise(1, 3, 5, seed=3)

    def loss(P: Tensor) -> Tensor:
        return gcp.matrix_root(P, method, inverse=inverse).sum()

    assert right_or_refused(loss, P @ P.mT, loss) == {"refused"}


@pytest.mark.parametrize("call", [gcp.spectral_function, gcp.covariance_function])
def test_mixed_derivatives_with_the_exponent(call: Callable[..., Tensor]) -> None:
    """By the exponent after the matrix, or the other way round: never a silent 0."""
    alpha = torch.tensor(0.4, dtype=torch.float64, requires_grad=True)
    A = noise(1, 3, 5, seed=3)
    x = (A @ A.mT if call is gcp.spectral_function else A).requires_grad_()
    Z = call(x, "power", alpha=alpha)
    for first, second in ((x, alpha), (alpha, x), (alpha, alpha)):
        (gradient,) = torch.autograd.grad(Z.sum(), first, create_graph=True)
        with pytest.raises(DerivativeError):
            torch.autograd.grad(gradient.sum(), second, allow_unused=True)
    by_matrix = torch.func.grad(lambda x, alpha: call(x, "power", alpha=alpha).sum())
    with pytest.raises(DerivativeError):
        torch.func.jacrev(by_matrix, argnums=1)(x.detach(), alpha.detach())


@pytest.mark.parametrize("kernel", ["lyapunov", "pade"])
def test_learned_exponent_sample_by_sample(kernel: str) -> None:
    """vmap(grad(...)), by the features and by the exponent, one for all samples and one for each."""
    pool, x = layer(("power", {"kernel": kernel}), 4, precision="float64").double(), noise(3, 4, 2, 3)
    leaf = x.clone().requires_grad_()
    pool(leaf).pow(2).sum().backward()

    def loss(log_alpha: Tensor, sample: Tensor) -> Tensor:
        return torch.func.functional_call(pool, {"log_alpha": log_alpha}, (sample[None],)).pow(2).sum()

    by_alpha, by_sample = torch.vmap(torch.func.grad(loss, argnums=(0, 1)), in_dims=(None, 0))(pool.log_alpha, x)
    torch.testing.assert_close(by_sample, leaf.grad)
    torch.testing.assert_close(by_alpha.sum(), pool.log_alpha.grad)
    exponents = torch.tensor([-0.7, -0.3, 0.1], dtype=torch.float64)
    found = torch.vmap(torch.func.grad(loss), in_dims=(0, None))(exponents, x[0])
    torch.testing.assert_close(found, torch.stack([torch.func.grad(loss)(value, x[0]) for value in exponents]))


def test_a_subclass_does_not_inherit_a_second_derivative() -> None:
    class Doubled(SquareRoot):
        def value(self, eigenvalues: Tensor) -> Tensor:
            return 2 * super().value(eigenvalues)

    assert SquareRoot().twice_differentiable
    assert not Doubled().twice_differentiable
    assert Custom(torch.sin, torch.cos).twice_differentiable
    assert not spectral_method("lyapunov", Doubled()).twice_differentiable
    assert spectral_method("lyapunov").twice_differentiable
    assert spectral_method("lyapunov", SquareRoot(eps=0.1)).twice_differentiable
    cut = SpectralMethod(lyapunov, kept, TopNOptions(), SquareRoot(), exact=True)
    assert not cut.twice_differentiable
