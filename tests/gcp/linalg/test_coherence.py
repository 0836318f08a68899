"""f(P) put together from eigh's pairs, or pca's, has the gradient that the spectral function of the same method has."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

import gcp
from gcp.errors import OptionError
from gcp.methods.table import VECTORS
from gcp.spectral.maps import as_map
from tests.gcp.linalg.matrices import REAL, noise, unitary
from tests.slow import slow_unless

# Options of named functions, or functions with their derivatives.
FUNCTIONS = {
    "sqrt": {},
    "inverse_sqrt": {},
    "log": {},
    "exp_neg": {},
    "power": {"alpha": 0.3},
    "sine": (torch.sin, torch.cos),
    "shifted log": (lambda lam: (lam + 0.1).log(), lambda lam: 1 / (lam + 0.1)),
}
RELATIVE_GAPS = [1.0, 0.999, 0.75, 0.749, 0.2, 0.002]  # 1e-3 and more
INDEFINITE = [1.0, 0.999, 0.75, -0.749, -0.2, 0.002]
CASES = [
    *((method, f, RELATIVE_GAPS) for method in VECTORS for f in FUNCTIONS),
    *((method, f, INDEFINITE) for method in VECTORS for f in ("exp_neg", "sine")),
]


def function_of(f: str) -> tuple[object, dict[str, float]]:
    entry = FUNCTIONS[f]
    return (f, entry) if isinstance(entry, dict) else (entry, {})


def assembled(P: Tensor, method: str, f: str, **options: object) -> Tensor:
    """f(0) I + U (f - f(0)) U^T: the identity has no eigenvectors. Of topn the largest part alone."""
    eigenvalues, U = gcp.linalg.eigh(P, method=method, **options)
    function = as_map(*function_of(f))
    base = function.at_zero if math.isfinite(function.at_zero) else 0.0
    values = function.value(eigenvalues) - base
    if method == "topn":
        size = eigenvalues.abs()
        values = torch.where(size >= size.sort().values[-3], values, 0)
    return (U * values) @ U.mT + base * torch.eye(len(P), dtype=P.dtype)


@pytest.mark.parametrize(
    ("method", "f", "spectrum"), slow_unless([case for case in CASES if case[1] in ("sqrt", "exp_neg")], CASES)
)
def test_functions_put_together(method, f, spectrum):
    """1e-12: gaps of 1e-3 leave 1e3 of 1e-16, and functions like 1/sqrt grow by as much."""
    U = unitary(6)
    P = (U * torch.tensor(spectrum, dtype=REAL)) @ U.mT
    P = (P + P.mT) / 2
    W = noise(6, 6, seed=7)
    name, options = function_of(f)
    own = {"n": 3} if method == "topn" else {}
    if method == "topn" and f in ("inverse_sqrt", "log"):
        with pytest.raises(OptionError, match="sets eigenvalues to 0"):
            gcp.spectral_function(P, name, method, **options, **own)
        return
    grads = []
    for result in (
        lambda P: assembled(P, method, f, **own),
        lambda P: gcp.spectral_function(P, name, method, **options, **own),
    ):
        x = P.clone().requires_grad_()
        y = result(x)
        (y * W).sum().backward()
        grads.append((y.detach(), x.grad))
    for found, expected in zip(*grads, strict=True):
        assert (found - expected).abs().max() < 1e-12 * max(1.0, float(expected.abs().max()))


@pytest.mark.parametrize("path", ["gram", "dense"])
@pytest.mark.parametrize("method", VECTORS)
def test_pca_is_eigh_of_the_covariance(method, path):
    x = noise(2, 5, 9)
    options = {"n": 3} if method == "topn" else {}

    def loss(variances: Tensor, components: Tensor) -> Tensor:
        return (((components * variances.sqrt().unsqueeze(-2)) @ components.mT) ** 3).sum() + (components**4).sum()

    ours, dense = (x.clone().requires_grad_() for _ in range(2))
    found = gcp.linalg.pca(ours, 4, method, path=path, **options)
    loss(*found).backward()
    centred = (dense - dense.mean(-1, keepdim=True)) / 3
    pair = gcp.linalg.eigh(centred @ centred.mT, method=method, **options)
    loss(pair.eigenvalues.flip(-1)[:, :4], pair.eigenvectors.flip(-1)[..., :4]).backward()
    torch.testing.assert_close(found.variances, pair.eigenvalues.flip(-1)[:, :4], rtol=1e-13, atol=0)
    torch.testing.assert_close(ours.grad, dense.grad, rtol=1e-11, atol=1e-12)
