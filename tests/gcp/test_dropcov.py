"""`dropcov` against its definition written as a loop; what chance it draws on, and what neighbours may do."""

from __future__ import annotations

import math
from pathlib import Path

import pytest
import torch
from torch import Tensor, multiprocessing
from torch.nn.parallel import DistributedDataParallel

from gcp.pooling.dropcov import DropCovPooling, drop_probability
from gcp.pooling.factory import create_pooling
from tests.gcp.helpers import covariance, forward_backward, grad_out, noise, relative_error, unvech


def layer(channels: int, **options: object) -> DropCovPooling:
    torch.manual_seed(0)
    pool = create_pooling("dropcov", channels, **options).double()
    assert isinstance(pool, DropCovPooling)
    return pool


def seeded(pool: DropCovPooling, x: Tensor, gradient: Tensor, seed: int = 5) -> tuple[Tensor, Tensor]:
    torch.manual_seed(seed)
    return forward_backward(pool, x, gradient)


def by_definition(pool: DropCovPooling, x: Tensor, seed: int = 5) -> tuple[Tensor, list[float]]:
    """Vectors and probabilities of all samples."""
    a, b, c = pool.attention.weight.flatten()
    channels = x.shape[1]
    weighed, cosines = [], []
    for sample in x:
        means = sample.flatten(1).mean(1)
        zero = means.new_zeros(1)
        left, right = torch.cat([zero, means[:-1]]), torch.cat([means[1:], zero])
        exponentials = (a * left + b * means + c * right).exp()
        importance = exponentials / exponentials.sum()
        weighed.append(sample + sample * importance[:, None, None])
        rows = covariance(weighed[-1][None])[0].sum(1)
        cosines.append(float((importance @ rows / importance.norm() / rows.norm()).detach()))
    if pool.probability == "batch":
        cosines = [sum(cosines) / len(cosines)] * len(cosines)
    chances = [min(max(1 - 10 / math.log2(channels) * cosine, 0.0), 1.0) for cosine in cosines]
    torch.manual_seed(seed)
    chance = torch.rand(len(x), channels, dtype=x.dtype)
    row, column = torch.triu_indices(channels, channels)
    vectors = []
    for sample, drawn, p in zip(weighed, chance, chances, strict=True):
        kept = (drawn >= p).double() / (1 - p)
        vectors.append(covariance((sample * kept[:, None, None])[None])[0][row, column])
    return torch.stack(vectors), chances


@pytest.mark.parametrize("probability", ["batch", "sample"])
def test_training_is_the_definition(probability: str) -> None:
    """Value, gradient of the features, gradient of the attention; p is a number, without a gradient, as published."""
    pool, x = layer(32, probability=probability), noise(8, 32, 3, 3)
    x[0] = x[0] + 4 * noise(1, 3, 3, seed=1)  # whose channels agree, so that less is dropped
    gradient = grad_out(32, 8)
    y, grad = seeded(pool, x, gradient)
    leaf = x.clone().requires_grad_()
    expected, chances = by_definition(pool, leaf)
    assert 0.05 < chances[1] < 1
    assert chances[0] == (chances[1] if probability == "batch" else 0)
    found_weight = pool.attention.weight.grad
    pool.attention.weight.grad = None
    expected.backward(gradient)
    assert leaf.grad is not None
    assert found_weight is not None
    assert relative_error(y, expected.detach()) < 1e-13
    assert relative_error(grad, leaf.grad) < 1e-13
    assert relative_error(found_weight, pool.attention.weight.grad) < 1e-12
    assert (y == 0).any()  # some were dropped


def test_evaluation_is_the_plain_covariance() -> None:
    x = noise(2, 5, 3, 3)
    pool = layer(5).eval()
    before = torch.get_rng_state()
    Z = unvech(pool(x), 5)
    assert torch.equal(torch.get_rng_state(), before)  # no chance
    for sample, matrix in zip(x, Z, strict=True):
        assert relative_error(matrix, torch.cov(sample.flatten(1), correction=0)) < 1e-14


def test_chance_is_torchs_stream() -> None:
    """What a checkpoint keeps, so that a resumed run draws what it would have drawn."""
    pool, x = layer(32), noise(3, 32, 3, 3)
    first = seeded(pool, x, grad_out(32, 3), seed=1)
    assert torch.equal(seeded(pool, x, grad_out(32, 3), seed=1)[0], first[0])
    assert not torch.equal(seeded(pool, x, grad_out(32, 3), seed=2)[0], first[0])


def test_neighbours_matter_by_the_published_mean_alone() -> None:
    """The first sample's chances are the first that are drawn, whatever the batch."""
    x, gradient = noise(3, 32, 3, 3), grad_out(32, 3)
    for factor in (1.0, 1e8, 1e-8, 0.0, torch.nan):
        beside = torch.cat([x[:1], factor * x[1:]])
        alone = seeded(layer(32, probability="sample"), x[:1], gradient[:1])
        for got, expected in zip(seeded(layer(32, probability="sample"), beside, gradient), alone, strict=True):
            assert torch.equal(got[:1], expected)
    pool = layer(32)
    assert not torch.equal(seeded(pool, x, gradient)[0][:1], seeded(pool, x[:1], gradient[:1])[0])


@pytest.mark.parametrize("probability", ["batch", "sample"])
@pytest.mark.parametrize("dtype", [torch.float16, torch.float32, torch.float64])
def test_degenerate_features_in_training(dtype: torch.dtype, probability: str) -> None:
    """Empty, constant, of rank one, with NaN: the latter keeps it to itself."""
    x = noise(5, 8, 2, 2).to(dtype)
    x[0], x[1], x[2] = 0, 3, x[2, :1]
    x[4, 3, 0, 0] = torch.nan
    pool = create_pooling("dropcov", 8, probability=probability)
    y, grad = seeded(pool, x, grad_out(8, 5))
    assert y.dtype == grad.dtype == dtype
    assert y[:4].isfinite().all()
    assert grad[:4].isfinite().all()
    assert not grad[:2].any()


def test_probabilities() -> None:
    """0 where importance and row sums agree, 1 where they are opposed or there is nothing; the mean of cosines."""
    ones, few = torch.full((1, 16), 1 / 16), noise(1, 1, 5).float()
    agree = few.expand(1, 16, 5)
    assert drop_probability(agree, ones, batch=False).tolist() == [0]
    assert drop_probability(agree, -ones, batch=False).tolist() == [1]
    assert drop_probability(torch.zeros(1, 16, 5), ones, batch=False).tolist() == [1]
    both = drop_probability(torch.cat([agree, 0 * agree]), torch.cat([ones, ones]), batch=True)
    assert both.tolist() == [0, 0]  # 1 - 10/4 (1 + 0)/2
    wide = drop_probability(few.expand(1, 2**16, 5), torch.full((1, 2**16), 2.0**-16), batch=True)
    assert wide.tolist() == pytest.approx([1 - 10 / 16], abs=1e-6)
    assert drop_probability(few, torch.ones(1, 1), batch=True).tolist() == [0]  # one channel


def one_of_two(rank: int, folder: Path) -> None:
    """A process's step on its half of the batch; what comes of it goes into a file."""
    torch.distributed.init_process_group("gloo", init_method=f"file://{folder}/rendezvous", rank=rank, world_size=2)
    model = DistributedDataParallel(layer(32))
    x = noise(6, 32, 3, 3)[3 * rank :][:3]
    torch.manual_seed(5)
    model(x).backward(grad_out(32, 3))
    torch.save(model.module.attention.weight.grad, folder / f"{rank}.pt")
    torch.distributed.destroy_process_group()


@pytest.mark.slow
def test_two_processes_train_the_attention_together(tmp_path: Path) -> None:
    """Each drops by the mean over its own images, and the gradient is the mean of both."""
    multiprocessing.spawn(one_of_two, (tmp_path,), nprocs=2)
    found = [torch.load(tmp_path / f"{rank}.pt") for rank in range(2)]
    assert torch.equal(*found)
    pool = layer(32)
    for half in noise(6, 32, 3, 3).split(3):
        seeded(pool, half, grad_out(32, 3))
    assert pool.attention.weight.grad is not None
    assert relative_error(found[0], pool.attention.weight.grad / 2) < 1e-12


@pytest.mark.slow
def test_compile_in_training() -> None:
    pool, x = layer(8), noise(3, 8, 3, 3)
    torch.manual_seed(1)
    expected = pool(x)
    torch.manual_seed(1)
    assert relative_error(torch.compile(pool, fullgraph=True, backend="eager")(x), expected) < 1e-13


@pytest.mark.parametrize("probability", ["batch", "sample"])
def test_positions_that_do_not_count_in_training(probability: str) -> None:
    """Those of a mask are as if they were not there, in the attention and the chances too."""
    pool, x, gradient = layer(32, probability=probability), noise(3, 32, 12), grad_out(32, 3)
    mask = (torch.arange(12) < 9).expand(3, 12)
    padded = torch.where(mask[:, None], x, torch.nan)
    torch.manual_seed(5)
    expected = forward_backward(pool, x[..., :9], gradient)
    torch.manual_seed(5)
    found = forward_backward(lambda each: pool(each, mask), padded, gradient)  # type: ignore[arg-type]
    assert relative_error(found[0], expected[0]) < 1e-12
    assert relative_error(found[1][..., :9], expected[1]) < 1e-12
    assert not found[1][..., 9:].any()
