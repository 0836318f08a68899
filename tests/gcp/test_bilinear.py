"""Bilinear and compact bilinear pooling against sums over pairs of channels written out."""

from __future__ import annotations

import math
from itertools import product

import pytest
import torch

from gcp.features import second_moment
from gcp.pooling.compact_bilinear import sketch_by_fft, sketch_of_moment
from gcp.pooling.factory import create_pooling
from tests.gcp.helpers import noise, relative_error

NAMES = ["bilinear", "compact_bilinear"]


def test_bilinear_is_the_published_formula() -> None:
    x = noise(2, 5, 3, 4)
    y = create_pooling("bilinear", 5, vectorisation="full", eps=1e-12)(x)
    for sample, vector in zip(x, y, strict=True):
        roots = []
        for i, j in product(range(5), range(5)):
            m = float((sample[i] * sample[j]).sum()) / 12
            roots.append(math.copysign(abs(m) ** 0.5, m))
        norm = math.sqrt(sum(root**2 for root in roots))
        assert vector.tolist() == pytest.approx([root / norm for root in roots], rel=1e-9)


def test_isometric_keeps_the_inner_products_of_full() -> None:
    x = noise(4, 5, 3, 4)
    full = create_pooling("bilinear", 5, vectorisation="full")(x)
    isometric = create_pooling("bilinear", 5, vectorisation="isometric")(x)
    assert isometric.shape == (4, 15)
    assert relative_error(isometric @ isometric.T, full @ full.T) < 1e-13


@pytest.mark.parametrize("name", NAMES)
def test_unit_length_whatever_the_scale(name: str) -> None:
    x = noise(2, 6, 3, 3)
    layer = create_pooling(name, 6)
    y = layer(x)
    assert torch.allclose(y.norm(dim=1), torch.ones(2, dtype=torch.float64), rtol=1e-13)
    for scale in (1e-6, 1e6):
        assert relative_error(layer(scale * x), y) < 1e-12


@pytest.mark.parametrize("name", NAMES)
def test_gradcheck(name: str) -> None:
    options: dict[str, object] = {"eps": 1e-3} | ({"dimension": 16} if name == "compact_bilinear" else {})
    layer = create_pooling(name, 4, **options)
    assert torch.autograd.gradcheck(layer, noise(2, 4, 2, 2).requires_grad_(), eps=1e-6, atol=1e-6, rtol=1e-5)


@pytest.mark.parametrize("name", NAMES)
def test_zero_dead_and_repeated(name: str) -> None:
    """A sample of zeros, a dead channel, a map of one position: finite, and zeros stay without gradient."""
    x = noise(2, 6, 3, 3).relu()
    x[0] = 0
    x[1, 2] = 0
    x.requires_grad_()
    layer = create_pooling(name, 6)
    y = layer(x)
    y.sum().backward()
    assert y[0].abs().max() == 0
    assert x.grad is not None
    assert x.grad[0].abs().max() == 0
    assert x.grad.isfinite().all()
    assert layer(noise(2, 6, 1, 1)).isfinite().all()


@pytest.mark.parametrize("dimension", [1, 7, 64])
def test_both_sketches_are_the_sum_over_pairs(dimension: int) -> None:
    x = noise(2, 5, 6)
    generator = torch.Generator().manual_seed(3)
    hashes = torch.randint(dimension, (2, 5), generator=generator)
    signs = 2.0 * torch.randint(2, (2, 5), generator=generator).double() - 1
    expected = torch.zeros(2, dimension, dtype=torch.float64)
    for sample, i, j, n in product(range(2), range(5), range(5), range(6)):
        bin_ = int(hashes[0, i] + hashes[1, j]) % dimension
        expected[sample, bin_] += signs[0, i] * signs[1, j] * x[sample, i, n] * x[sample, j, n]
    assert relative_error(sketch_by_fft(x, hashes, signs, dimension), expected) < 1e-13
    assert relative_error(sketch_of_moment(x, hashes, signs, dimension), expected) < 1e-13


def test_the_cheaper_sketch_is_chosen(monkeypatch: pytest.MonkeyPatch) -> None:
    called = []

    def spy(name: str, function):
        return lambda *arguments: (called.append(name), function(*arguments))[1]

    module = "gcp.pooling.compact_bilinear"
    monkeypatch.setattr(f"{module}.sketch_by_fft", spy("fft", sketch_by_fft))
    monkeypatch.setattr(f"{module}.sketch_of_moment", spy("moment", sketch_of_moment))
    create_pooling("compact_bilinear", 40, dimension=100)(noise(1, 40, 4, 4))
    create_pooling("compact_bilinear", 41, dimension=100)(noise(1, 41, 4, 4))
    assert called == ["moment", "fft"]


def test_sketches_keep_inner_products_on_average() -> None:
    """An unbiased estimate whose variance falls as 1/dimension: over 200 seeds, within four standard errors."""
    x = noise(2, 6, 9)
    M = second_moment(x)
    exact = float((M[0] * M[1]).sum())
    found = []
    for seed in range(200):
        layer = create_pooling("compact_bilinear", 6, dimension=256, seed=seed)
        sketch = sketch_of_moment(x, layer.hashes, layer.signs.double(), 256)
        found.append(float(sketch[0] @ sketch[1]))
    samples = torch.tensor(found, dtype=torch.float64)
    assert abs(float(samples.mean()) - exact) < 4 * float(samples.std()) / 200**0.5


def test_the_hash_functions_are_state_from_a_generator_of_their_own() -> None:
    before = torch.random.get_rng_state()
    layer = create_pooling("compact_bilinear", 6)
    assert torch.equal(torch.random.get_rng_state(), before)
    assert set(layer.state_dict()) == {"hashes", "signs"}
    assert layer.out_features == 8192
    assert set(layer.signs.unique().tolist()) <= {-1.0, 1.0}
    again, other = create_pooling("compact_bilinear", 6), create_pooling("compact_bilinear", 6, seed=1)
    x = noise(2, 6, 3, 3)
    assert torch.equal(again(x), layer(x))
    assert not torch.allclose(other(x), layer(x))
    other.load_state_dict(layer.state_dict())
    assert torch.equal(other(x), layer(x))
