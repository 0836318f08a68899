"""`cholesky` against torch's own Cholesky decomposition, and where covariances are singular, tied, empty or huge."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor
from torch.autograd import gradcheck, gradgradcheck

from gcp.errors import DomainError
from gcp.pooling.cholesky import log_cholesky
from gcp.pooling.factory import create_pooling
from tests.gcp.helpers import covariance, forward_backward, grad_out, noise, relative_error, unvech, with_spectrum

PUBLISHED: dict[str, object] = {"eps": 1e-6, "relative": False}
OPTIONS: dict[str, dict[str, object]] = {"relative": {}, "published": PUBLISHED}
CASES = {
    "full rank": noise(2, 4, 3, 3),
    "N < C": noise(2, 6, 2, 2),
    "ties": with_spectrum([2.0, 2.0, 1.0, 1.0], 9)[0],
    "repeated channels": torch.cat([noise(2, 3, 3, 3)] * 2, 1),
    "rank one": noise(2, 5, 1, 1) * noise(2, 1, 3, 3, seed=1),
}


def by_torch(x: Tensor, eps: float = 1e-3, relative: bool = True) -> Tensor:
    P = covariance(x)
    channels = x.shape[1]
    shift = eps * P.diagonal(dim1=1, dim2=2).mean(1)[:, None, None] if relative else eps
    L = torch.linalg.cholesky(P + shift * torch.eye(channels, dtype=P.dtype))
    rows = []
    for i in range(channels):
        rows += [2 * L[:, i, i].log() if i == j else L[:, j, i] for j in range(i, channels)]
    return torch.stack(rows, 1)


@pytest.mark.parametrize("options", OPTIONS)
@pytest.mark.parametrize("case", CASES)
def test_value_and_gradient_are_those_of_torch(case: str, options: str) -> None:
    """1e-12; of singular covariances two ways of rounding are 1e-16/eps apart, relative to the mean."""
    x = CASES[case]
    gradient = grad_out(x.shape[1], len(x))
    y, grad = forward_backward(create_pooling("cholesky", x.shape[1], **OPTIONS[options]), x, gradient)
    leaf = x.clone().requires_grad_()
    expected = by_torch(leaf, **OPTIONS[options])  # type: ignore[arg-type]  # a mapping of both types
    expected.backward(gradient)
    tolerance = 1e-12 if case in ("full rank", "ties") else 1e-10 if options == "relative" else 1e-7
    assert relative_error(y, expected.detach()) < tolerance
    assert leaf.grad is not None
    assert relative_error(grad, leaf.grad) < tolerance


@pytest.mark.parametrize("case", CASES)
def test_gradcheck(case: str) -> None:
    x = CASES[case].requires_grad_()
    pool = create_pooling("cholesky", x.shape[1], eps=0.05)  # so that differences see a smooth function
    assert gradcheck(pool, x)
    assert gradgradcheck(pool, x[:1].detach().requires_grad_())


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32, torch.float64])
def test_singular_covariances_have_finite_gradients(dtype: torch.dtype) -> None:
    x = torch.stack([torch.zeros(6, 2, 2), torch.full((6, 2, 2), 0.1), *noise(2, 6, 2, 2).float()]).to(dtype)
    x[3, 3:] = x[3, :3]
    y, grad = forward_backward(create_pooling("cholesky", 6), x, grad_out(6, 4))
    assert y.dtype == grad.dtype == dtype
    assert y.isfinite().all()
    assert grad.isfinite().all()
    assert not grad[:2].any()
    empty = torch.eye(6, dtype=torch.float64) * torch.tensor(1e-3, dtype=torch.float64).log()
    assert relative_error(unvech(y, 6)[0], empty) < 2 * torch.finfo(dtype).eps


def test_features_times_a_number() -> None:
    """What is off the diagonal scales, and 2 log(s) is added on it."""
    x, pool = noise(1, 4, 3, 3), create_pooling("cholesky", 4)
    Z = unvech(pool(x), 4)[0]
    for scale in (2.0**-996, 2.0**-300, 3.0, 2.0**900):
        found = unvech(pool(scale * x), 4)[0]
        expected = Z.tril(-1) + Z.triu(1)
        assert relative_error(found.tril(-1) + found.triu(1), scale * expected) < 1e-13
        logarithm = 2 * torch.tensor(scale, dtype=torch.float64).log()
        assert relative_error(found.diagonal(), Z.diagonal() + logarithm) < 1e-13


def test_what_rounding_makes_indefinite_is_refused_by_name() -> None:
    x = noise(3, 4, 3, 3)
    x[1, 2:] = x[1, :2]
    x[2, 0, 0, 0] = torch.nan
    with pytest.raises(DomainError, match="matrix 1 to 0 or below; take a larger eps") as error:
        create_pooling("cholesky", 4, eps=1e-30)(x)
    assert error.value.samples == (1,)
    with pytest.raises(DomainError, match="matrix 0"):
        log_cholesky(-torch.eye(2))
    with pytest.raises(DomainError, match="matrix 1"):
        torch.func.vmap(log_cholesky, in_dims=2)(torch.stack([torch.eye(2), -torch.eye(2)], 2))
    assert create_pooling("cholesky", 4, eps=1e-30)(x[::2]).isfinite().all(1).tolist() == [True, False]


@pytest.mark.slow
def test_a_compiled_program_gives_nan_where_it_cannot_raise() -> None:
    program = torch.export.export(create_pooling("cholesky", 4, eps=1e-30), (noise(2, 4, 3, 3),)).module()
    x = noise(2, 4, 3, 3)
    x[1, 2:] = x[1, :2]
    assert program(x).isfinite().all(1).tolist() == [True, False]
