"""`pi` is power iteration with deflation, differentiated.

Which unrolling: for each eigenpair, from the largest down, start at the exact eigenvector (detached), apply
``iterations + 1`` normalised power steps v <- M v/|M v| of the current deflated matrix, take the eigenvalue as the
Rayleigh quotient v^T M v, deflate by M <- M - M v v^T, and sum Z = sum sqrt(lam) v v^T. With K = iterations, n steps
give dv the components D_{n-1} = (1/lam) sum_{l<n} x^l, so D_K takes K + 1 of them; the one-sided deflation turns
1 - lam_i D_K into the D_{K-1} of L_ij = f(lam_i) D_K - f(lam_j) D_{K-1}.
"""

import pytest
import torch
from torch import Tensor

from tests.gcp.helpers import (
    covariance,
    dense_gradient,
    forward_backward,
    grad_out,
    noise,
    pooling,
    relative_error,
    with_spectrum,
)

CLOSE = [2.0, 1.9, 1.5, 0.7, 0.6, 0.1]  # ratios up to 0.95: 20 steps are far from convergence, the method shows
INPUTS = {
    "N>=C": lambda: with_spectrum(CLOSE, 20)[0],
    "N<C": lambda: noise(2, 9, 2, 3),
    "after ReLU": lambda: noise(2, 7, 3, 3, seed=5).relu() * torch.tensor([1, 1, 0, 1, 1, 1, 1.0]).view(7, 1, 1),
}


def power_iteration_root(P: Tensor, steps: int) -> Tensor:
    """Square root of P (C, C) by unrolled power iteration with deflation, differentiable by autograd."""
    ascending, vectors = torch.linalg.eigh(P.detach())
    root = torch.zeros_like(P)
    deflated = P
    for eigenvalue, v in zip(ascending.flip(0), vectors.T.flip(0), strict=True):
        if eigenvalue <= 1e-13 * ascending[-1]:
            break
        for _ in range(steps):
            v = deflated @ v
            v = v / v.norm()
        root = root + (v @ deflated @ v).sqrt() * torch.outer(v, v)
        deflated = deflated - deflated @ torch.outer(v, v)
    return root


def unrolled_gradient(x: Tensor, gradient: Tensor, steps: int) -> Tensor:
    x = x.clone().requires_grad_()
    row, column = torch.triu_indices(x.shape[1], x.shape[1])
    y = torch.stack([power_iteration_root(P, steps)[row, column] for P in covariance(x)])
    (grad,) = torch.autograd.grad(y, x, gradient)
    return grad


@pytest.mark.parametrize("iterations", [1, 3, 19])
@pytest.mark.parametrize("case", INPUTS)
def test_gradient_is_that_of_unrolled_power_iteration(case: str, iterations: int) -> None:
    x = INPUTS[case]()
    gradient = grad_out(x.shape[1], len(x))
    _, grad = forward_backward(pooling("pi", x.shape[1], iterations=iterations), x, gradient)
    # 1e-9: the unrolling divides by eigenvalues down to 1e-3 of the largest, float64
    assert relative_error(grad, unrolled_gradient(x, gradient, iterations + 1)) < 1e-9


@pytest.mark.parametrize("steps", [3, 5])
def test_another_number_of_steps_is_another_gradient(steps: int) -> None:
    x = INPUTS["N>=C"]()
    gradient = grad_out(x.shape[1])
    _, grad = forward_backward(pooling("pi", x.shape[1], iterations=3), x, gradient)
    assert relative_error(grad, unrolled_gradient(x, gradient, steps)) > 1e-3


@pytest.mark.parametrize("iterations", [1, 3, 19])
def test_gradient_is_the_closed_form(iterations: int) -> None:
    def kernel(larger: float, smaller: float, i: int, j: int) -> float:
        powers = [(smaller / larger) ** exponent for exponent in range(iterations + 1)]
        return (larger**0.5 * sum(powers) - smaller**0.5 * sum(powers[:-1])) / larger

    x = INPUTS["N<C"]()
    gradient = grad_out(x.shape[1], len(x))
    _, grad = forward_backward(pooling("pi", x.shape[1], iterations=iterations), x, gradient)
    assert relative_error(grad, dense_gradient(x, gradient, kernel)) < 1e-11


@pytest.mark.parametrize("case", INPUTS)
def test_gradient_is_far_from_zero(case: str) -> None:
    """The reference's is 1e-16. Near the exact one: within a factor of two."""
    x = INPUTS[case]()
    gradient = grad_out(x.shape[1], len(x))
    _, grad = forward_backward(pooling("pi", x.shape[1]), x, gradient)
    _, exact = forward_backward(pooling("lyapunov", x.shape[1]), x, gradient)
    assert 0.5 < grad.norm() / exact.norm() < 2


def test_many_iterations_converge_to_the_exact_gradient() -> None:
    x = INPUTS["N>=C"]()
    gradient = grad_out(x.shape[1])
    _, exact = forward_backward(pooling("lyapunov", x.shape[1]), x, gradient)
    errors = [
        relative_error(forward_backward(pooling("pi", x.shape[1], iterations=k), x, gradient)[1], exact)
        for k in (1, 10, 100, 1000)
    ]
    assert errors == sorted(errors, reverse=True)
    assert errors[0] > 1e-2
    assert errors[-1] < 1e-11
