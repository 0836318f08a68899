"""Equal eigenvalues, whose eigenvectors are the decomposition's choice, and the scale of the input."""

import pytest
import torch
from torch import Tensor

from tests.gcp.helpers import (
    SPECTRAL,
    UNCUT,
    dense_gradient,
    exact_pair,
    forward_backward,
    grad_out,
    noise,
    orthogonal,
    pooling,
    relative_error,
    symmetric,
    unvech,
    with_spectrum,
)

# Distinct eigenvalues far apart, where the approximating methods have converged: pi's error is 0.1^19. newton and
# halley need more than their default iterations to converge on 0.01/2.22.
PAIRS = [1.0, 1.0, 0.1, 0.1, 0.01, 0.01]
CONVERGED: dict[str, dict[str, object]] = {"newton": {"iterations": 20}, "halley": {"iterations": 6}}


@pytest.mark.parametrize("scale", [1e-6, 1.0, 1e6])
@pytest.mark.parametrize("precision", ["float64", "mixed", "float32"])
@pytest.mark.parametrize("name", SPECTRAL)
def test_multiple_of_the_identity_is_exact(name: str, precision: str, scale: float) -> None:
    """P = s^2 I: Z = s I and dℓ/dP = sym(G)/(2 s), without any eigenvectors."""
    x, _ = with_spectrum([1.0] * 5, 12)
    x = x * scale
    gradient = grad_out(5)
    y, grad = forward_backward(pooling(name, 5, precision), x, gradient)
    expected = symmetric(gradient[0], 5) / scale @ (x[0, :, 0] / 12)  # 2 dℓ/dP Xc/sqrt(N), which is centred
    # float32 decomposes with 1e-7 and ties what lies within 12 of those
    tolerance = 1e-5 if precision == "float32" else 1e-12
    assert relative_error(unvech(y, 5)[0], scale * torch.eye(5, dtype=torch.float64)) < tolerance
    assert relative_error(grad[0, :, 0], expected) < tolerance


def exact_gradient(U: Tensor, eigenvalues: list[float], x: Tensor, gradient: Tensor) -> Tensor:
    """dℓ/dx with the eigenvectors the input was built from, not those a decomposition found."""
    root = torch.tensor(eigenvalues, dtype=torch.float64).sqrt()
    L = 1 / (root[:, None] + root[None, :])
    to_covariance = U @ (L * (U.T @ symmetric(gradient[0], len(root)) @ U)) @ U.T
    return 2 / x.shape[-1] * to_covariance @ x[0, :, 0]


@pytest.mark.parametrize("name", SPECTRAL)
def test_repeated_pairs_are_exact(name: str) -> None:
    x, U = with_spectrum(PAIRS, 20)
    gradient = grad_out(6)
    y, grad = forward_backward(pooling(name, 6, **CONVERGED.get(name, {})), x, gradient)
    root = U * torch.tensor(PAIRS, dtype=torch.float64).sqrt() @ U.T
    assert relative_error(unvech(y, 6)[0], root) < 1e-12
    # 1e-10: rounding of 1e-16 over the smallest eigenvalue 0.01, times what newton's 20 steps add
    assert relative_error(grad[0, :, 0], exact_gradient(U, PAIRS, x, gradient)) < 1e-10


@pytest.mark.parametrize("eigenvalues", [[1.0] * 6, PAIRS, [4.0, 4.0, 4.0, 3.9, 0.0, 0.0]])
@pytest.mark.parametrize("name", SPECTRAL)
def test_independent_of_the_basis_of_an_eigenspace(
    name: str, eigenvalues: list[float], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Another basis of each eigenspace, as another LAPACK might choose, gives the same values and gradient."""
    x, _ = with_spectrum(eigenvalues, 20)
    gradient = grad_out(6)
    layer = pooling(name, 6)
    y, grad = forward_backward(layer, x, gradient)
    decompose = torch.linalg.eigh
    turned = []

    def other_basis(matrix: Tensor) -> tuple[Tensor, Tensor]:
        values, vectors = decompose(matrix)
        vectors = vectors.clone()
        for value in set(eigenvalues):
            same = (values - value).abs()[0] < 1e-9
            vectors[..., same] = vectors[..., same] @ orthogonal(int(same.sum()), seed=8)
            turned.append(int(same.sum()))
        return values, vectors

    monkeypatch.setattr(torch.linalg, "eigh", other_basis)
    other_y, other_grad = forward_backward(layer, x, gradient)
    assert sum(turned) == 6
    assert relative_error(other_y, y) < 1e-12
    assert relative_error(other_grad, grad) < 1e-10


def test_topn_keeps_ties_of_the_last_one() -> None:
    """n = 3 would cut the second pair in two; n = 4 keeps it, and so does n = 3."""
    x, _ = with_spectrum(PAIRS, 20)
    gradient = grad_out(6)
    three, four, two = (forward_backward(pooling("topn", 6, n=n), x, gradient) for n in (3, 4, 2))
    assert relative_error(three[0], four[0]) < 1e-15
    assert relative_error(three[1], four[1]) < 1e-15
    assert relative_error(two[0], four[0]) > 1e-2


@pytest.mark.parametrize("name", ["original", "pade", "lyapunov"])
@pytest.mark.parametrize("gap", [1e-3, 1e-6, 1e-9, 1e-12, 1e-15])
def test_near_ties(name: str, gap: float) -> None:
    """Exact methods stay exact as a gap closes. original and pade carry the quotient's rounding eps/gap."""
    eigenvalues = [1.0, 1.0 - gap, 0.5, 0.2]
    x, U = with_spectrum(eigenvalues, 10)
    gradient = grad_out(4)
    _, grad = forward_backward(pooling(name, 4), x, gradient)
    tolerance = 1e-11 if name == "lyapunov" else max(1e-11, 1e-15 / gap)
    assert relative_error(grad[0, :, 0], exact_gradient(U, eigenvalues, x, gradient)) < tolerance


@pytest.mark.parametrize("scale", [1e-6, -3.0, 3.0, 1e6])
@pytest.mark.parametrize("shape", [(2, 9, 2, 3), (2, 6, 4, 4)])
@pytest.mark.parametrize("name", SPECTRAL)
def test_scale_of_the_input(name: str, shape: tuple[int, ...], scale: float) -> None:
    """Z(c x) = |c| Z(x), of degree 1: its gradient at c x is the one at x, turned with the sign of c."""
    x = noise(*shape)
    gradient = grad_out(shape[1], len(x))
    options = {"limit": 1e30} if name == "trunc" else {}  # absolute; see below
    layer = pooling(name, shape[1], **options)
    y, grad = forward_backward(layer, x, gradient)
    scaled_y, scaled_grad = forward_backward(layer, scale * x, gradient)
    # 1e-11: rounding of c x, amplified by the condition of noise
    assert relative_error(scaled_y / abs(scale), y) < 1e-11
    assert relative_error(scaled_grad * (1 if scale > 0 else -1), grad) < 1e-11


@pytest.mark.parametrize("precision", ["mixed", "float32"])
@pytest.mark.parametrize("exponent", [-20, 20])
@pytest.mark.parametrize("name", [name for name in SPECTRAL if name != "trunc"])
def test_scale_of_float32_input(name: str, exponent: int, precision: str) -> None:
    """Powers of two scale float32 without rounding: what is left is rounding inside, 1e-7 times a condition of 1e2."""
    x = noise(2, 9, 2, 3).float()
    gradient = grad_out(9, 2).float()
    layer = pooling(name, 9, precision)
    y, grad = forward_backward(layer, x, gradient)
    scaled_y, scaled_grad = forward_backward(layer, x * 2.0**exponent, gradient)
    assert relative_error(scaled_y / 2.0**exponent, y) < 1e-5
    assert relative_error(scaled_grad, grad) < 1e-5


def test_absolute_limit_of_trunc_breaks_scaling_where_it_acts() -> None:
    """At 1e-6 eigenvalues are 1e-12 and quotients 1e12, beyond the default 1e10; at 1e6 it does not act."""
    x = noise(1, 6, 4, 4)
    gradient = grad_out(6)
    layer = pooling("trunc", 6)
    _, grad = forward_backward(layer, x, gradient)
    _, large = forward_backward(layer, 1e6 * x, gradient)
    _, small = forward_backward(layer, 1e-6 * x, gradient)
    assert relative_error(large, grad) < 1e-11
    assert relative_error(small, grad) > 0.1
    assert torch.isfinite(small).all()


@pytest.mark.parametrize("name", UNCUT)
def test_turning_the_channels_turns_the_gradient(name: str) -> None:
    """x -> R x turns P, Z and the gradient along: nothing depends on the coordinates, ties or not."""
    x, _ = with_spectrum([2.0, 2.0, 1.5, 0.3, 0.3], 9)
    G = symmetric(grad_out(5)[0], 5)
    R = orthogonal(5, seed=4)
    layer = pooling(name, 5)

    def triangle(matrix: Tensor) -> Tensor:
        row, column = torch.triu_indices(5, 5)
        return ((2 - (row == column).double()) * matrix[row, column])[None]

    y, grad = forward_backward(layer, x, triangle(G))
    turned = (R @ x[0, :, 0])[None, :, None, :]
    turned_y, turned_grad = forward_backward(layer, turned, triangle(R @ G @ R.T))
    assert relative_error(unvech(turned_y, 5)[0], R @ unvech(y, 5)[0] @ R.T) < 1e-12
    assert relative_error(turned_grad[0, :, 0], R @ grad[0, :, 0]) < 1e-11


def test_rank_deficient_null_space_is_exact() -> None:
    """The null space is a tie too; the oracle leaves its entries out, as they never reach x."""
    x, _ = with_spectrum([1.0, 0.5, 0.5, 0.0, 0.0, 0.0], 20)
    gradient = grad_out(6)
    for name in ("original", "pade", "lyapunov"):
        _, grad = forward_backward(pooling(name, 6), x, gradient)
        assert relative_error(grad, dense_gradient(x, gradient, exact_pair)) < 1e-10
