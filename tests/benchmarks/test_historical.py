"""The historical kernel: the reference's values with its mistakes, the library's without them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from benchmarks.border_gradients import WORST, rectified
from benchmarks.historical import MENDED, METHODS, Errata, HistoricalPooling
from benchmarks.oracle import exact
from tests.gcp.helpers import forward_backward, pooling, relative_error

FOLDER = Path(__file__).parent.parent / "reference"
STORED = {
    "layers_fullrank": ("original", "trunc", "taylor", "pade"),
    "layers_rankdef": ("original", "trunc", "taylor", "pade"),
    "layers_topn": ("original", "topn"),
}
KERNELS = [method for method in METHODS if method != "pi"]


@pytest.mark.parametrize(("file", "method"), [(file, method) for file, some in STORED.items() for method in some])
def test_it_gives_what_the_reference_gave(file, method):
    """The reference's output is float32; without full rank its noise in the null space is in the gradient."""
    with np.load(FOLDER / f"{file}.npz") as stored:
        values = {key: torch.from_numpy(stored[key]) for key in stored}
    y, grad = forward_backward(HistoricalPooling(method), values["x"].double(), values["grad_out"])
    assert relative_error(y, values[f"{method}.out"]) < 1e-6
    assert relative_error(grad, values[f"{method}.grad"]) < (1e-6 if file == "layers_fullrank" else 1e-5)


def test_the_gradient_of_pi_is_rounding():
    with np.load(FOLDER / "layers_fullrank.npz") as stored:
        x, gradient, published = (torch.from_numpy(stored[key]) for key in ("x", "grad_out", "pi.grad"))
    _, grad = forward_backward(HistoricalPooling("pi"), x.double(), gradient)
    assert max(grad.norm(), published.norm()) < 1e-12


@pytest.mark.parametrize("method", KERNELS)
@pytest.mark.parametrize("positions", [25, 49])
def test_mended_it_is_the_library_s(method, positions):
    """Rank 24 and full rank of 32; topn cuts none of the 24, and of 32 the same ones."""
    x = rectified(positions)
    noise = torch.randn(len(x), 32 * 33 // 2, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    y, grad = forward_backward(HistoricalPooling(method, MENDED), x, noise)
    expected = forward_backward(pooling(method, 32), x, noise)
    assert relative_error(y, expected[0]) < 1e-6  # mixed precision would be 1e-7, the default's root of rounding 1e-8
    assert relative_error(grad, expected[1]) < 1e-8


FACTORS = {"original": (0.7, 1.2), "pade": (0.7, 1.2), "taylor": (100, 1000), "trunc": (1e10, 1e11), "topn": (1e6, 1e8)}


@pytest.mark.parametrize("method", KERNELS)
def test_a_multiple_of_the_identity_shows_the_mistakes_at_ties(method):
    """Rows of a Hadamard matrix: a covariance that is the identity to the last bit; factors as in the design notes."""
    rows = torch.ones(1, 1, dtype=torch.float64)
    while len(rows) < 64:
        rows = torch.cat([torch.cat([rows, rows], 1), torch.cat([rows, -rows], 1)])
    x = rows[1:11].reshape(1, 10, 8, 8)
    noise = torch.randn(1, 55, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    expected = exact(x, noise)[1]
    low, high = FACTORS[method]
    assert low < relative_error(forward_backward(HistoricalPooling(method), x, noise)[1], expected) < high
    mended = forward_backward(HistoricalPooling(method, Errata(ties=False, floor=method != "topn")), x, noise)[1]
    assert relative_error(mended, expected) < (1e-12 if method != "topn" else 1)


def test_bad_cases_are_what_they_are_called():
    singular = torch.linalg.svdvals(WORST["exactly equal eigenvalues"]().flatten(2))
    assert float((singular.amax(1) / singular.amin(1) - 1).max()) < 1e-13
    assert int(torch.linalg.matrix_rank(torch.cov(WORST["25 positions, 32 channels"]()[0, :, :, 0]))) < 25
