"""How large what stands for 1/(lam_i - lam_j) may become: as each method promises, and nearly reached."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from gcp.linalg.vector_method import Origin, vector_method
from gcp.methods.table import VECTORS
from tests.gcp.linalg.matrices import REAL

EPS = torch.finfo(REAL).eps
# Options, and the bound of |D_ij| by them, the larger one of the pair and the largest of all, in magnitude.
BOUNDS = {
    "taylor": ({"degree": 30}, lambda larger, largest: 31 / larger),
    "pi": ({"iterations": 30}, lambda larger, largest: 31 / larger),
    "trunc": ({"limit": 1e5}, lambda larger, largest: torch.full_like(larger, 1e5)),
    "lorentz": ({"width": 1e-4}, lambda larger, largest: 1 / (2e-4 * largest)),
    # The quotient itself, which the tie rule alone bounds.
    "pade": ({}, lambda larger, largest: 1 / (16 * EPS * largest)),
    "original": ({}, lambda larger, largest: 1 / (16 * EPS * largest)),
    # Towards what is dropped 1/lam; of what is kept, here one value and those tied with it, the same as for `original`.
    "topn": ({"n": 1}, lambda larger, largest: 1 / largest),
}


def spectra(signed: bool) -> Tensor:
    """(..., 3): pairs at relative gaps from 1 down to rounding, beside a third value, larger or smaller."""
    gaps = torch.logspace(-17, 0, 400, dtype=REAL)
    pair = torch.stack([torch.ones_like(gaps), 1 - gaps], -1)
    values = torch.cat([torch.cat([pair, torch.full_like(pair[:, :1], other)], -1) for other in (7.0, 1e-3)])
    if not signed:
        return values.sort(-1, descending=True).values
    signs = torch.tensor([[1.0, 1.0, -1.0], [-1.0, -1.0, 1.0], [1.0, -1.0, 1.0]], dtype=REAL)
    return (values.unsqueeze(-2) * signs).flatten(0, -2).sort(-1).values


def test_every_method_has_a_bound():
    assert set(BOUNDS) == set(VECTORS)


@pytest.mark.parametrize("signed", [False, True])
@pytest.mark.parametrize("name", BOUNDS)
def test_bound(name, signed):
    options, bound = BOUNDS[name]
    values = spectra(signed)
    D = vector_method(name, options, signed).quotients(values, Origin(3, 3, EPS)).among.abs()
    size = values.abs()
    larger, largest = torch.maximum(size.unsqueeze(-1), size.unsqueeze(-2)), size.amax(-1)[:, None, None].expand_as(D)
    share = D / bound(larger, largest)
    assert 0.9 < share.max() <= 1 + 1e-12
    gaps = (values.unsqueeze(-1) - values.unsqueeze(-2)).abs()
    if name != "topn":
        assert (D * gaps).max() <= 1 + 1e-12  # a weight of 1 is the exact derivative; none exceeds it
    assert (D[gaps <= 16 * EPS * largest] == 0).all()
