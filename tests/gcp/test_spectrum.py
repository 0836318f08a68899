"""Statistics of spectra, on spectra written down."""

from __future__ import annotations

import math

import pytest
import torch

from gcp.covariance import decomposed_root, spectral_method
from gcp.diagnostics.spectrum import spectrum_statistics


def of(*eigenvalues, channels=None):
    found = spectrum_statistics(torch.tensor([eigenvalues], dtype=torch.float64), channels or len(eigenvalues), 10)
    return {name: value.item() for name, value in found._asdict().items()}


def test_a_plain_spectrum():
    found = of(4.0, 2.0, 1.0, channels=6)
    assert found["condition"] == 4
    assert found["null"] == 3
    shares = [4 / 7, 2 / 7, 1 / 7]
    assert found["effective_rank"] == pytest.approx(math.exp(-sum(share * math.log(share) for share in shares)))
    assert (found["tied"], found["near_tied"]) == (0, 0)
    assert found["smallest_gap"] == pytest.approx(0.5)
    assert found["largest_k"] == pytest.approx(1.0)


def test_equal_eigenvalues_have_full_effective_rank_and_are_tied():
    found = of(3.0, 3.0, 3.0)
    assert found["effective_rank"] == pytest.approx(3)
    assert (found["tied"], found["near_tied"]) == (2, 2)
    assert math.isnan(found["smallest_gap"])
    assert math.isnan(found["largest_k"])


def test_near_ties_are_counted_and_their_k_is_large():
    found = of(1.0, 1 - 1e-6, 0.5, 0.0)
    assert (found["tied"], found["near_tied"], found["null"]) == (0, 1, 1)
    assert found["smallest_gap"] == pytest.approx(1e-6, rel=1e-6)
    assert found["largest_k"] == pytest.approx(1e6, rel=1e-6)


def test_nothing_and_a_single_eigenvalue():
    nothing = of(0.0, 0.0)
    assert (nothing["null"], nothing["effective_rank"]) == (2, 0)
    assert math.isnan(nothing["condition"])
    assert of(2.0)["condition"] == 1


def test_a_covariance_made_with_ties_is_reported_as_such():
    torch.manual_seed(0)
    Q, _ = torch.linalg.qr(torch.randn(12, 4, dtype=torch.float64) - 0)
    Q = Q - Q.mean(0)
    Q, _ = torch.linalg.qr(Q)  # orthonormal columns of mean 0: the covariance is a multiple of the identity
    features = Q.T.reshape(1, 4, 12)
    *_, eigenvalues = decomposed_root(features, spectral_method("lyapunov"))
    found = spectrum_statistics(eigenvalues, 4, 12)
    assert found.tied.item() == 3
    assert found.condition.item() == pytest.approx(1)
