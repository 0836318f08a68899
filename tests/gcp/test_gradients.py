"""Gradients in float64 against numerical ones, or against what each method claims to be, built in another way."""

from collections.abc import Callable

import mpmath
import pytest
import torch
from torch import Tensor

from gcp.methods import METHODS
from gcp.methods.halley import HalleyOptions
from gcp.methods.mpa import coefficients
from gcp.pooling.factory import create_pooling
from gcp.registry import resolve
from gcp.spectral.loewner import spectrum
from gcp.spectral.maps import SquareRoot
from tests.gcp.helpers import (
    SPECTRAL,
    covariance,
    dense_gradient,
    exact_pair,
    forward_backward,
    grad_out,
    noise,
    pooling,
    relative_error,
    unvech,
    with_spectrum,
)
from tests.gcp.oracle import ITERATIONS


def away_from_zero(x: Tensor) -> Tensor:
    """``x`` moved away from ReLU's kink, with channel 1 dead, so that small steps keep the rank."""
    x = x + 0.1 * x.sign()
    x[:, 1] = -x[:, 1].abs()
    return x


# name: pre-activation, activation; the last two lose rank beyond N - 1 through a dead channel
INPUTS: dict[str, tuple[Callable[[], Tensor], Callable[[Tensor], Tensor]]] = {
    "N>=C": (lambda: noise(2, 4, 3, 3), lambda x: x),
    "N<C": (lambda: noise(2, 6, 2, 2), lambda x: x),
    "ReLU, N>=C": (lambda: away_from_zero(noise(2, 5, 3, 4, seed=3)), torch.relu),
    "ReLU, N<C": (lambda: away_from_zero(noise(2, 7, 2, 3, seed=4)), torch.relu),
}


@pytest.mark.parametrize("case", INPUTS)
@pytest.mark.parametrize("name", ["original", "pade", "lyapunov"])
def test_gradcheck(name: str, case: str) -> None:
    """Exact derivatives. Central differences with step 1e-6 are good to about 1e-9 of curvature and 1e-10 of noise."""
    make, activation = INPUTS[case]
    x = make().requires_grad_()
    layer = pooling(name, x.shape[1])
    assert torch.autograd.gradcheck(lambda x: layer(activation(x)), x, eps=1e-6, atol=1e-7, rtol=1e-6)


def check_pairs(name: str, x: Tensor, kernel: Callable[[float, float, int, int], float], **options: object) -> None:
    """The layer's gradient is U (L o A) U^T with this kernel. 1e-10: two float64 routes to the same formula."""
    gradient = grad_out(x.shape[1], len(x))
    _, grad = forward_backward(pooling(name, x.shape[1], **options), x, gradient)
    assert relative_error(grad, dense_gradient(x, gradient, kernel)) < 1e-10


@pytest.mark.parametrize("case", INPUTS)
@pytest.mark.parametrize("name", ["original", "pade", "lyapunov"])
def test_exact_methods_are_divided_differences(name: str, case: str) -> None:
    make, activation = INPUTS[case]
    check_pairs(name, activation(make()), exact_pair)


@pytest.mark.parametrize("degree", [1, 4, 100])
@pytest.mark.parametrize("case", INPUTS)
def test_taylor_is_the_power_sum(case: str, degree: int) -> None:
    def kernel(larger: float, smaller: float, i: int, j: int) -> float:
        D = 0.0
        for exponent in range(degree + 1):
            D += (smaller / larger) ** exponent / larger
        return D * (larger**0.5 - smaller**0.5)

    make, activation = INPUTS[case]
    check_pairs("taylor", activation(make()), kernel, degree=degree)


def test_taylor_degree_matters() -> None:
    x, _ = with_spectrum([1.0, 0.95, 0.5], 10)
    gradient = grad_out(3)
    grads = [forward_backward(pooling("taylor", 3, degree=degree), x, gradient)[1] for degree in (4, 5)]
    assert relative_error(*grads) > 1e-3


@pytest.mark.parametrize("case", INPUTS)
@pytest.mark.parametrize("limit", [0.1, 2.0, 1e10])
def test_trunc_clips_the_quotient(case: str, limit: float) -> None:
    clipped = []

    def kernel(larger: float, smaller: float, i: int, j: int) -> float:
        D = 1 / (larger - smaller)
        clipped.append(limit < D)
        return min(D, limit) * (larger**0.5 - smaller**0.5)

    make, activation = INPUTS[case]
    check_pairs("trunc", activation(make()), kernel, limit=limit)
    assert any(clipped) == (limit < 1e10)


@pytest.mark.parametrize("n", [1, 2, 4, 5])
@pytest.mark.parametrize("case", ["N>=C, six", "ReLU, N>=C", "ReLU, N<C"])
def test_topn_is_what_the_design_states(case: str, n: int) -> None:
    """`original` among kept, f(lam)/lam between kept and dropped, 0 among dropped and for dropped themselves."""
    make, activation = {**INPUTS, "N>=C, six": (lambda: noise(2, 6, 4, 4), lambda x: x)}[case]
    x = activation(make())
    gradient = grad_out(x.shape[1], len(x))
    layer = pooling("topn", x.shape[1], n=n)
    y, grad = forward_backward(layer, x, gradient)

    roots = []
    ascending, vectors = torch.linalg.eigh(covariance(x))
    for lam, U in zip(ascending, vectors, strict=True):
        root = torch.zeros_like(U)
        for index in range(1, n + 1):
            root += lam[-index].clamp(min=0).sqrt() * torch.outer(U[:, -index], U[:, -index])
        roots.append(root)
    # 1e-7: the root of an eigenvalue that is null, but for rounding, is 1e-8
    assert relative_error(unvech(y, x.shape[1]), torch.stack(roots)) < 1e-7
    assert relative_error(grad, topn_gradient(x, gradient, n)) < 1e-10


def topn_gradient(x: Tensor, gradient: Tensor, n: int) -> Tensor:
    """The stated gradient: that of the eigenpairs, summed over kept eigenpairs i with terms to all others j.

    d Z = sum_i kept [ sqrt(lam_i) (dv_i v_i^T + v_i dv_i^T) + d lam_i/(2 sqrt lam_i) v_i v_i^T ], where a dropped
    eigenvalue counts as 0: dv_i = sum_j v_j (v_j^T dP v_i)/(lam_i - lam_j [j kept]).
    """
    x = x.clone().requires_grad_()
    row, column = torch.triu_indices(x.shape[1], x.shape[1])
    covariances = covariance(x)
    total = torch.zeros((), dtype=torch.float64)
    for P, vector in zip(covariances, gradient, strict=True):
        ascending, vectors = torch.linalg.eigh(P.detach())
        lam, U = ascending.flip(0), vectors.flip(1)
        count = min(n, int((lam > 1e-13 * lam[0]).sum()))
        change = torch.zeros_like(P)
        projected = U.T @ P @ U  # linear in P, whose derivative is dP; its value is irrelevant
        for i in range(count):
            change = change + projected[i, i] / (2 * lam[i].sqrt()) * torch.outer(U[:, i], U[:, i])
            for j in range(len(lam)):
                if j != i:
                    gap = lam[i] - (lam[j] if j < count else 0)
                    dv = projected[j, i] / gap * U[:, j]
                    change = change + lam[i].sqrt() * (torch.outer(dv, U[:, i]) + torch.outer(U[:, i], dv))
        total = total + (change[row, column] * vector).sum()
    (grad,) = torch.autograd.grad(total, x)
    return grad


def test_topn_options_and_default() -> None:
    x = noise(1, 8, 4, 4)
    gradient = grad_out(8)

    def run(**options: object) -> Tensor:
        return torch.cat([part.flatten() for part in forward_backward(pooling("topn", 8, **options), x, gradient)])

    assert torch.equal(run(fraction=0.5), run(n=4))
    assert torch.equal(run(), run(n=6))  # 206/256 of 8 is 6.4
    assert not torch.allclose(run(n=5), run(n=6))
    original = torch.cat([part.flatten() for part in forward_backward(pooling("original", 8), x, gradient)])
    assert torch.allclose(run(n=8), original, rtol=1e-12)


def iteration_gradient(name: str, x: Tensor, gradient: Tensor, iterations: int) -> Tensor:
    """Autograd through the matrix iteration on P/tr P, compensated by sqrt(tr P) afterwards."""
    x = x.clone().requires_grad_()
    Z = torch.stack([ITERATIONS[name](P, iterations) for P in covariance(x)])
    row, column = torch.triu_indices(x.shape[1], x.shape[1])
    (grad,) = torch.autograd.grad(Z[:, row, column], x, gradient)
    return grad


ITERATED = [("newton", 1), ("newton", 5), ("newton", 10), ("halley", 1), ("halley", 4)]


@pytest.mark.parametrize(
    ("case", "name", "iterations"), [*((case, *each) for each in ITERATED for case in INPUTS), ("N>=C", "halley", 8)]
)
def test_autograd_through_the_matrix_iteration(case: str, name: str, iterations: int) -> None:
    """At a singular matrix autograd through quotients loses 9^K: for K = 20 see `test_halley_to_fifty_digits`."""
    make, activation = INPUTS[case]
    x = activation(make())
    gradient = grad_out(x.shape[1], len(x))
    _, grad = forward_backward(pooling(name, x.shape[1], iterations=iterations), x, gradient)
    assert relative_error(grad, iteration_gradient(name, x, gradient, iterations)) < 1e-10


@pytest.mark.parametrize("steps", [4, 8, 20])
def test_halley_to_fifty_digits(steps: int) -> None:
    """Every entry of L to 1e-14 of itself: close, tiny, tied and null eigenvalues."""
    lam = torch.tensor([0.5, 0.3, 0.3, 0.2, 0.2 * (1 - 1e-9), 1e-3, 1e-8, 1e-14, 0.0, 0.0], dtype=torch.float64)
    seen = spectrum(lam[None], len(lam), 50, SquareRoot(), True)
    L, trace = resolve(METHODS.get("halley").kernel)(seen, HalleyOptions(iterations=steps))
    with mpmath.workdps(120):
        total = mpmath.fsum(lam.tolist())

        def root(a: mpmath.mpf) -> mpmath.mpf:
            x = mpmath.mpf(1)
            for _ in range(steps):
                x = x * (x**2 + 3 * a) / (3 * x**2 + a)
            return x

        def difference(a: float, b: float) -> mpmath.mpf:
            first, second = mpmath.mpf(a) / total, mpmath.mpf(b) / total
            if a == b:
                second += mpmath.mpf(10) ** -50
            return (root(first) - root(second)) / (first - second)

        rows = [[difference(a, b) / mpmath.sqrt(total) for b in lam.tolist()] for a in lam.tolist()]
        slopes = [root(a / total) / 2 - a / total * difference(a, a) for a in map(mpmath.mpf, lam.tolist())]
        expected = torch.tensor([[float(entry) for entry in row] for row in rows], dtype=torch.float64)
        weights = torch.tensor([float(slope / mpmath.sqrt(total)) for slope in slopes], dtype=torch.float64)
    torch.testing.assert_close(L[0, :-1, :-1], expected, rtol=1e-14, atol=0)
    torch.testing.assert_close(trace[0, :-1], weights, rtol=0, atol=1e-15)


@pytest.mark.parametrize("steps", [1, 2])
def test_halley_is_the_pade_approximant_of_mpa(steps: int) -> None:
    """K steps are degree (3^K - 1)/2: 1 and 4. The divided differences of p/q from its binomial coefficients."""
    p, q = coefficients((3**steps - 1) // 2)
    lam = torch.tensor([0.6, 0.3, 0.09, 0.01, 0.0], dtype=torch.float64)  # of trace 1

    def root(a: float) -> float:
        return sum(c * a**k for k, c in enumerate(p)) / sum(c * a**k for k, c in enumerate(q))

    seen = spectrum(lam[None], len(lam), 50, SquareRoot(), True)
    L, _ = resolve(METHODS.get("halley").kernel)(seen, HalleyOptions(iterations=steps))
    for i, a in enumerate(lam.tolist()):
        for j, b in enumerate(lam.tolist()):
            if a != b:
                assert float(L[0, i, j]) == pytest.approx((root(a) - root(b)) / (a - b), rel=1e-13)


@pytest.mark.parametrize("name", SPECTRAL)
@pytest.mark.parametrize(("precision", "tolerance"), [("mixed", 1e-5), ("float32", 1e-4)])
@pytest.mark.parametrize("shape", [(2, 16, 3, 3), (2, 6, 5, 5)])
def test_precisions_agree(name: str, precision: str, tolerance: float, shape: tuple[int, ...]) -> None:
    """Spectra of noise are well conditioned: float32's 1e-7 times about 1e2, once more where float32 decomposes."""
    x = noise(*shape, seed=11).float()
    gradient = grad_out(shape[1], len(x)).float()
    y, grad = forward_backward(pooling(name, shape[1], precision), x, gradient)
    y64, grad64 = forward_backward(pooling(name, shape[1]), x.double(), gradient.double())
    assert relative_error(y, y64) < tolerance
    assert relative_error(grad, grad64) < tolerance


@pytest.mark.parametrize("name", SPECTRAL)
@pytest.mark.parametrize("shape", [(2, 9, 2, 3), (2, 5, 4, 4)])
def test_gradient_is_centred_and_follows_homogeneity(name: str, shape: tuple[int, ...]) -> None:
    """Adding a constant to a channel changes nothing; and, by Euler, <dℓ/dx, x> = L for L linear in the root of P.

    Newton's is the root's polynomial, Halley's a quotient, topn's cut has the same degree: their own roots have it too.
    """
    x = noise(*shape, seed=21)
    gradient = grad_out(shape[1], len(x))
    options = {"newton": {"iterations": 30}, "halley": {"iterations": 20}}.get(name, {})
    y, grad = forward_backward(create_pooling(name, shape[1], precision="float64", **options), x, gradient)
    assert grad.mean((2, 3)).abs().max() < 1e-14
    assert abs(float((grad * x).sum() / (gradient * y).sum()) - 1) < 1e-9
