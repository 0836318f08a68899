"""Spectral functions of matrices and of covariances: values, gradients, domains."""

import numpy as np
import pytest
import scipy.linalg
import torch
from torch.autograd import gradcheck

import gcp
from gcp.errors import DerivativeError, DomainError, NonFiniteError, OptionError, ShapeError, UnknownNameError
from gcp.methods import METHODS
from gcp.spectral.maps import Custom, ExpNeg, InverseSquareRoot, Log, Power, SquareRoot
from tests.gcp.helpers import has_meaning
from tests.gcp.oracle import ITERATIONS

METHOD_NAMES = [name for name in METHODS.names() if METHODS.get(name).kernel is not None]
RECIPROCAL = (torch.reciprocal, lambda a: -1 / a**2)
SINE = (torch.sin, torch.cos)

SCIPY = {
    "sqrt": ("sqrt", scipy.linalg.sqrtm),
    "inverse_sqrt": ("inverse_sqrt", lambda P: scipy.linalg.fractional_matrix_power(P, -0.5)),
    "log": ("log", scipy.linalg.logm),
    "exp_neg": ("exp_neg", lambda P: scipy.linalg.expm(-P)),
    "power 0.3": (Power(0.3), lambda P: scipy.linalg.fractional_matrix_power(P, 0.3)),
    "power -1.7": (Power(-1.7), lambda P: scipy.linalg.fractional_matrix_power(P, -1.7)),
    "reciprocal": (RECIPROCAL, np.linalg.inv),
    "sine": (SINE, lambda P: scipy.linalg.expm(1j * P).imag),
}
REGULAR = {
    "sqrt": SquareRoot(),
    "sqrt eps": SquareRoot(eps=0.1),
    "inverse_sqrt": InverseSquareRoot(eps=0.1),
    "inverse_sqrt absolute": InverseSquareRoot(eps=0.1, relative=False),
    "log": Log(eps=0.2),
    "exp_neg": ExpNeg(),
    "power 0.3": Power(0.3),
    "power -1.5": Power(-1.5, eps=0.2),
    "sine": Custom(*SINE),
    "reciprocal": Custom(*RECIPROCAL, nonnegative=True, eps=0.3),
}


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def features(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(*shape, dtype=torch.float64, generator=generator(seed))


def definite(*batch: int, size: int = 5, seed: int = 0) -> torch.Tensor:
    A = features(*batch, size, size + 3, seed=seed)
    return A @ A.mT / size


def with_eigenvalues(values: list[float], seed: int = 0) -> torch.Tensor:
    Q = torch.linalg.qr(features(len(values), len(values), seed=seed)).Q
    P = Q @ torch.diag(torch.tensor(values, dtype=torch.float64)) @ Q.mT
    return (P + P.mT) / 2


def covariance(x: torch.Tensor) -> torch.Tensor:
    flat = x.flatten(2)
    centred = flat - flat.mean(-1, keepdim=True)
    return centred @ centred.mT / flat.shape[-1]


# ---- values


@pytest.mark.parametrize("case", SCIPY)
def test_values_agree_with_scipy(case):
    f, reference = SCIPY[case]
    P = definite(2, 3)
    expected = np.stack([reference(p) for p in P.reshape(-1, 5, 5).numpy()]).reshape(P.shape)
    # condition numbers up to 100, and scipy's own rounding
    np.testing.assert_allclose(gcp.spectral_function(P, f).numpy(), expected, rtol=1e-10, atol=1e-11)


@pytest.mark.parametrize("positions", [3, 12], ids=["gram", "dense"])
@pytest.mark.parametrize("case", REGULAR)
def test_covariance_agrees_with_the_matrix_of_the_covariance(case, positions):
    x = features(2, 6, positions)
    expected = gcp.spectral_function(covariance(x), REGULAR[case])
    torch.testing.assert_close(gcp.covariance_function(x, REGULAR[case]), expected, rtol=1e-10, atol=1e-11)


def test_maps_of_images_are_flattened():
    x = features(2, 4, 3, 2)
    torch.testing.assert_close(gcp.covariance_function(x, "exp_neg"), gcp.covariance_function(x.flatten(2), "exp_neg"))


@pytest.mark.parametrize("shape", [(3, 3), (0, 3, 3), (2, 0, 4, 4), (2, 1, 2, 3, 3), (2, 1, 1)])
def test_batch_shapes(shape):
    P = torch.eye(shape[-1], dtype=torch.float64).expand(shape).clone().requires_grad_()
    Z = gcp.spectral_function(P, "sqrt")
    torch.testing.assert_close(Z, P)
    Z.sum().backward()
    assert P.grad is not None
    assert P.grad.shape == P.shape


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32])
@pytest.mark.parametrize("precision", ["mixed", "float64", "float32"])
def test_input_dtypes(dtype, precision):
    P = definite(2).to(dtype)
    Z = gcp.spectral_function(P, "inverse_sqrt", eps=1e-2, precision=precision)
    assert Z.dtype == dtype
    expected = gcp.spectral_function(P.double(), "inverse_sqrt", eps=1e-2)
    tolerance = 8 * torch.finfo(dtype).eps  # a few roundings of the output, condition at most 10
    torch.testing.assert_close(Z.double(), expected, rtol=tolerance, atol=tolerance * float(expected.abs().max()))


# ---- gradients of the exact kernel


@pytest.mark.parametrize("case", SCIPY)
def test_gradcheck_of_matrices(case):
    P = definite(2, size=4).requires_grad_()
    assert gradcheck(lambda P: gcp.spectral_function(P, SCIPY[case][0]), P)


@pytest.mark.parametrize("case", REGULAR)
def test_gradcheck_of_regularised_matrices(case):
    P = definite(2, size=4).requires_grad_()
    assert gradcheck(lambda P: gcp.spectral_function(P, REGULAR[case]), P)


@pytest.mark.parametrize("positions", [3, 7], ids=["gram", "dense"])
@pytest.mark.parametrize("case", REGULAR)
def test_gradcheck_of_features(case, positions):
    x = features(2, 4, positions).requires_grad_()
    assert gradcheck(lambda x: gcp.covariance_function(x, REGULAR[case]), x)


@pytest.mark.parametrize("values", [[2.0, 2.0, 2.0], [3.0, 1.0, 1.0], [2.0, 0.0, 0.0], [0.0, 0.0, 0.0]])
@pytest.mark.parametrize("f", ["exp_neg", SINE], ids=["exp_neg", "sine"])
def test_smooth_functions_are_exact_at_ties_and_for_singular_matrices(values, f):
    P = with_eigenvalues(values).requires_grad_()
    assert gradcheck(lambda P: gcp.spectral_function(P, f), P)


@pytest.mark.parametrize("values", [[2.0, 2.0, 2.0], [3.0, 1.0, 1.0]])
@pytest.mark.parametrize("f", ["sqrt", "log", "inverse_sqrt", RECIPROCAL])
def test_exact_at_ties(values, f):
    P = with_eigenvalues(values).requires_grad_()
    assert gradcheck(lambda P: gcp.spectral_function(P, f), P)


@pytest.mark.parametrize("method", ["lyapunov", "original", "pade", "trunc"])
def test_indefinite_matrices_for_functions_on_the_whole_line(method):
    P = with_eigenvalues([2.0, 1.0, -0.5, -1.0, -3.0]).requires_grad_()
    expected = scipy.linalg.expm(-P.detach().numpy())
    np.testing.assert_allclose(gcp.spectral_function(P, "exp_neg").detach().numpy(), expected, rtol=1e-12, atol=1e-12)
    assert gradcheck(lambda P: gcp.spectral_function(P, "exp_neg", method), P)


def test_singular_square_root_lets_nothing_flow_within_the_null_space():
    P = torch.diag(torch.tensor([4.0, 0.0, 0.0], dtype=torch.float64)).requires_grad_()
    gcp.spectral_function(P, "sqrt").sum().backward()
    expected = torch.tensor([[1 / 4, 1 / 2, 1 / 2], [1 / 2, 0, 0], [1 / 2, 0, 0]], dtype=torch.float64)
    torch.testing.assert_close(P.grad, expected)


# ---- other kernels


def loss_gradient(function, x: torch.Tensor) -> torch.Tensor:
    x = x.clone().requires_grad_()
    Z = function(x)
    (Z * features(*Z.shape[1:], seed=9)).sum().backward()
    assert x.grad is not None
    return x.grad


@pytest.mark.parametrize("case", REGULAR)
@pytest.mark.parametrize("method", METHOD_NAMES)
@pytest.mark.parametrize("positions", [4, 9], ids=["gram", "dense"])
def test_every_method_gives_the_same_on_features_and_matrix(case, method, positions):
    f = REGULAR[case]
    if not has_meaning(method, f.name):
        pytest.skip("no meaning")
    options = {"n": 2} if method == "topn" else {}
    x = features(2, 6, positions)
    through_matrix = loss_gradient(lambda x: gcp.spectral_function(covariance(x), f, method, **options), x)
    direct = loss_gradient(lambda x: gcp.covariance_function(x, f, method, **options), x)
    # Null eigenvalues of the matrix are rounding, within the rank floor; what they touch is amplified by 1/eps at most.
    torch.testing.assert_close(direct, through_matrix, rtol=1e-8, atol=1e-9)


@pytest.mark.parametrize("case", ["inverse_sqrt", "log", "exp_neg", "power -1.5", "sine"])
@pytest.mark.parametrize(
    ("method", "options"),
    [
        ("taylor", {"degree": 20000}),
        ("pi", {"iterations": 20000}),
        ("lorentz", {"width": 1e-9}),
        ("topn", {"fraction": 1.0}),
        ("original", {}),
        ("trunc", {}),
        ("pade", {}),
    ],
)
def test_limits_are_the_exact_gradient_for_decreasing_functions_too(case, method, options):
    x = features(2, 5, 9)
    exact = loss_gradient(lambda x: gcp.covariance_function(x, REGULAR[case]), x)
    found = loss_gradient(lambda x: gcp.covariance_function(x, REGULAR[case], method, **options), x)
    torch.testing.assert_close(found, exact, rtol=1e-9, atol=1e-10)


def test_pi_is_the_published_sum_for_a_function_that_vanishes_at_zero():
    K, values = 5, [3.0, 2.0, 0.5]
    P = torch.diag(torch.tensor(values, dtype=torch.float64)).requires_grad_()
    gcp.spectral_function(P, Power(0.7), "pi", iterations=K).sum().backward()
    for i in range(3):
        for j in range(i + 1, 3):
            a, b = values[i], values[j]
            D = [sum((b / a) ** m for m in range(k + 1)) / a for k in (K, K - 1)]
            assert float(P.grad[i, j]) == pytest.approx(a**0.7 * D[0] - b**0.7 * D[1], rel=1e-12)


@pytest.mark.parametrize("values", [[-1.0, -2.0], [1.0, -2.0], [2.0, -2.0]], ids=str)
def test_taylor_of_indefinite_matrices_is_the_series_in_the_ratio_of_magnitudes(values):
    """Of equal signs. Opposite eigenvalues are apart, and their series is off by up to 100 %: there it is exact."""
    P = torch.diag(torch.tensor(values, dtype=torch.float64)).requires_grad_()
    gcp.spectral_function(P, "exp_neg", "taylor", degree=4).sum().backward()
    smaller, larger = values
    ratio = smaller / larger
    series = sum(ratio**k for k in range(5)) / larger if ratio > 0 else 1 / (larger - smaller)
    expected = (np.exp(-larger) - np.exp(-smaller)) * series
    assert float(P.grad[0, 1]) == pytest.approx(expected, rel=1e-12)


def test_topn_counts_dropped_eigenvalues_as_null():
    P = torch.diag(torch.tensor([4.0, 2.0, 1.0], dtype=torch.float64))
    Z = gcp.spectral_function(P, "exp_neg", "topn", n=1)
    torch.testing.assert_close(Z.diagonal(), torch.tensor([np.exp(-4.0), 1.0, 1.0], dtype=torch.float64))


@pytest.mark.parametrize("diagonal", [[2.0, -2.0], [-2.0, 2.0]])
def test_topn_keeps_one_of_two_opposite_eigenvalues(diagonal):
    """In value and gradient the same one, the positive one."""
    P = torch.diag(torch.tensor(diagonal, dtype=torch.float64)).requires_grad_()
    Z = gcp.spectral_function(P, "exp_neg", "topn", n=1)
    expected = torch.tensor([np.exp(-2) if value > 0 else 1.0 for value in diagonal], dtype=torch.float64)
    torch.testing.assert_close(Z, expected.diag())
    Z[0, 1].backward()
    assert P.grad is not None
    assert P.grad[0, 1].item() == pytest.approx((np.exp(-2) - 1) / 2 / 2)  # f[2, 0]/2


@pytest.mark.parametrize("positions", [3, 12], ids=["gram", "dense"])
def test_relative_eps_of_topn_is_differentiated_where_it_acts(positions):
    # With one eigenvalue kept, Z's trace is f(lam + s) + (C - 1) f(s): smooth, so the gradient must be exact.
    x = features(1, 5, positions).requires_grad_()
    f = InverseSquareRoot(eps=0.3)
    assert gradcheck(lambda x: gcp.covariance_function(x, f, "topn", n=1).diagonal(dim1=-2, dim2=-1).sum(), x)


@pytest.mark.parametrize("values", [[5.0, 2.0, 1.0, 0.3], [2.0, 2.0, 1.0, 0.0]])
@pytest.mark.parametrize("f", ["sqrt", "inverse_sqrt"])
@pytest.mark.parametrize("eps", [0.0, 0.05])
@pytest.mark.parametrize("method", ITERATIONS)
def test_autograd_through_the_matrix_iteration(method, values, f, eps):
    if f == "inverse_sqrt" and eps == 0 and 0.0 in values:
        pytest.skip("infinite")
    P = with_eigenvalues(values)
    weights = features(4, 4, seed=3)
    steps = {"newton": 6, "halley": 3}[method]  # with more, autograd through Halley's quotients of the null space blurs

    def iterate(P: torch.Tensor) -> torch.Tensor:
        M = P + eps * P.trace() / 4 * torch.eye(4, dtype=P.dtype)
        return ITERATIONS[method](M, steps, f == "inverse_sqrt")

    expected = torch.autograd.functional.jacobian(lambda P: (iterate(P) * (weights + weights.mT) / 2).sum(), P)
    Q = P.clone().requires_grad_()
    (gcp.spectral_function(Q, f, method, iterations=steps, eps=eps) * weights).sum().backward()
    torch.testing.assert_close(Q.grad, expected, rtol=1e-10, atol=1e-11)


# ---- learnable exponent


@pytest.mark.parametrize("eps", [0.0, 0.2])
def test_gradcheck_of_the_exponent(eps):
    alpha = torch.tensor(0.4, dtype=torch.float64, requires_grad=True)
    for x in (features(2, 4, 3).requires_grad_(), features(2, 4, 7).requires_grad_()):
        assert gradcheck(lambda x, alpha: gcp.covariance_function(x, Power(alpha, eps=eps)), (x, alpha))
    P = definite(2, size=3).requires_grad_()
    assert gradcheck(lambda P, alpha: gcp.spectral_function(P, "power", alpha=alpha, eps=eps), (P, alpha))


def test_gradcheck_of_the_exponent_with_dropped_eigenvalues():
    alpha = torch.tensor([0.4], dtype=torch.float64, requires_grad=True)
    x = features(2, 4, 7)
    assert gradcheck(lambda alpha: gcp.covariance_function(x, Power(alpha, eps=0.1), "topn", n=2), alpha)


def test_backward_uses_the_exponent_of_its_forward():
    alpha = torch.tensor(0.4, dtype=torch.float64, requires_grad=True)
    x = features(2, 4, 7)
    expected = loss_gradient(lambda x: gcp.covariance_function(x, Power(0.4)), x)
    x.requires_grad_()
    Z = gcp.covariance_function(x, Power(alpha))
    with torch.no_grad():
        alpha.fill_(2.0)
    (Z * features(4, 4, seed=9)).sum().backward()
    torch.testing.assert_close(x.grad, expected)


# ---- scales, degenerate input


@pytest.mark.parametrize("scale", [1e-12, 1e-6, 1e6, 1e12])
@pytest.mark.parametrize(("f", "degree"), [("inverse_sqrt", -1.0), (Power(0.3, eps=1e-5), 0.6), ("sqrt", 1.0)])
def test_relative_eps_scales_with_the_features(scale, f, degree):
    options = {"eps": 1e-5} if f == "inverse_sqrt" else {}
    x = features(2, 6, 4)
    Z = gcp.covariance_function(x, f, **options)
    torch.testing.assert_close(gcp.covariance_function(scale * x, f, **options), scale**degree * Z, rtol=1e-9, atol=0)


@pytest.mark.parametrize("method", METHOD_NAMES)
@pytest.mark.parametrize("case", REGULAR)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_degenerate_features_stay_finite(method, case, dtype):
    f = REGULAR[case]
    if not has_meaning(method, f.name):
        pytest.skip("no meaning")
    x = features(4, 6, 5).to(dtype)
    x[0] = 0
    x[1] = 3
    x[2] = x[2, :1] * torch.arange(1, 7, dtype=dtype)[:, None]  # rank one
    x[3, 3:] = x[3, :3]  # repeated channels
    x.requires_grad_()
    Z = gcp.covariance_function(x, f, method)
    Z.sum().backward()
    assert Z.isfinite().all()
    assert x.grad is not None
    assert x.grad.isfinite().all()
    assert (x.grad[:2] == 0).all()


# ---- composability


@pytest.mark.parametrize("case", ["inverse_sqrt", "log", "exp_neg", "power 0.3"])
def test_covariances_under_vmap(case):
    x = features(3, 2, 4, 5)
    expected = torch.stack([gcp.covariance_function(part, REGULAR[case]) for part in x])
    torch.testing.assert_close(torch.vmap(lambda x: gcp.covariance_function(x, REGULAR[case]))(x), expected)


def test_second_derivatives_are_refused_not_dropped():
    alpha = torch.tensor(0.4, dtype=torch.float64, requires_grad=True)
    P, x = definite(2, size=3).requires_grad_(), features(2, 3, 5).requires_grad_()
    calls = [
        (lambda: gcp.spectral_function(P, "log", "taylor"), P),
        (lambda: gcp.covariance_function(x, "exp_neg", "pade"), x),
        (lambda: gcp.covariance_function(x, SquareRoot(eps=0.1), "newton"), x),
        (lambda: gcp.covariance_function(x.detach(), Power(alpha)), alpha),
        (lambda: gcp.spectral_function(P.detach(), Power(alpha)), alpha),
    ]
    for call, variable in calls:
        (gradient,) = torch.autograd.grad(call().sum(), variable, create_graph=True)
        with pytest.raises(DerivativeError, match="second derivatives"):
            gradient.sum().backward()


# ---- refusals


@pytest.mark.parametrize("f", ["inverse_sqrt", "log", Power(-0.5), RECIPROCAL])
def test_functions_infinite_at_zero_need_eps_on_features(f):
    with pytest.raises(OptionError, match="set eps"):
        gcp.covariance_function(features(1, 3, 5), f)
    with pytest.raises(OptionError, match="set eps"):
        gcp.spectral_function(definite(size=3), f, "topn", n=2)


@pytest.mark.parametrize("f", ["inverse_sqrt", "log"])
def test_singular_matrices_need_eps_for_functions_infinite_at_zero(f):
    P = torch.stack([definite(size=3), with_eigenvalues([2.0, 1.0, 0.0])])
    with pytest.raises(DomainError, match=r"matrix 1 is singular.*set eps") as caught:
        gcp.spectral_function(P, f)
    assert caught.value.samples == (1,)
    assert gcp.spectral_function(P, f, eps=1e-3).isfinite().all()


@pytest.mark.parametrize("f", ["sqrt", "inverse_sqrt", "log", Power(0.3)])
def test_negative_eigenvalues_are_refused(f):
    P = torch.stack([definite(size=3), with_eigenvalues([2.0, 1.0, -0.25])])
    with pytest.raises(DomainError, match=r"matrix 1 has the eigenvalue -0\.25"):
        gcp.spectral_function(P, f)


def test_negative_rounding_counts_as_zero():
    x = features(6, 2).float()
    P = x @ x.mT  # rank 2, with rounding of either sign
    assert torch.linalg.eigvalsh(P.double())[0] < 0
    Z = gcp.spectral_function(P, "sqrt")
    torch.testing.assert_close(Z @ Z, P, rtol=1e-4, atol=1e-5)


def test_a_callable_that_is_not_finite_is_named():
    with pytest.raises(DomainError, match="custom is not finite at an eigenvalue of matrix 0"):
        gcp.spectral_function(with_eigenvalues([1.0, -1.0]), (torch.sqrt, lambda a: 0.5 / a.sqrt()))


def test_symmetry_is_taken_or_checked():
    P = definite(2, size=3)
    skew = torch.zeros_like(P)
    skew[1, 0, 2], skew[1, 2, 0] = 0.5, -0.5
    torch.testing.assert_close(gcp.spectral_function(P + skew, "log"), gcp.spectral_function(P, "log"))
    with pytest.raises(DomainError, match="matrix 1 is not symmetric"):
        gcp.spectral_function(P + skew, "log", check_symmetric=True)
    gcp.spectral_function(P.float(), "log", check_symmetric=True)


@pytest.mark.parametrize("method", ITERATIONS)
def test_iterations_refuse_other_functions(method):
    for f in ("log", "exp_neg", Power(0.5), SINE):
        with pytest.raises(OptionError, match="sqrt and inverse_sqrt only"):
            gcp.spectral_function(definite(), f, method)


@pytest.mark.parametrize(
    ("call", "error", "says"),
    [
        (lambda: gcp.spectral_function(torch.ones(2, 3), "sqrt"), ShapeError, r"\(\.\.\., n, n\)"),
        (lambda: gcp.spectral_function(torch.ones(3), "sqrt"), ShapeError, r"\(\.\.\., n, n\)"),
        (lambda: gcp.spectral_function(torch.eye(3), "sqr"), UnknownNameError, "did you mean 'sqrt'"),
        (lambda: gcp.spectral_function(torch.eye(3), "sqrt", "lyapunow"), UnknownNameError, "mean 'lyapunov'"),
        (lambda: gcp.spectral_function(torch.eye(3), "sqrt", "average"), OptionError, "no spectral method"),
        (lambda: gcp.spectral_function(torch.eye(3), "sqrt", degre=3), OptionError, "no option 'degre'"),
        (lambda: gcp.covariance_function(torch.ones(2, 3), "sqrt"), ShapeError, "features must be"),
        (lambda: gcp.covariance_function(torch.ones(2, 3, 1), "sqrt"), ShapeError, "two positions"),
        (lambda: gcp.spectral_function(torch.full((3, 3), torch.nan), "sqrt"), NonFiniteError, "matrix 0 of 1"),
    ],
)
def test_misuse_is_named(call, error, says):
    with pytest.raises(error, match=says):
        call()
