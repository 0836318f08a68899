"""Whitening over several processes is whitening of all their batches at once."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import Tensor, multiprocessing, nn
from torch.nn.parallel import DistributedDataParallel

from gcp import Whitening
from tests.gcp.test_whitening import mixed

BATCHES = (5, 11)  # of the two processes


def network(**options: object) -> nn.Sequential:
    torch.manual_seed(1)
    return nn.Sequential(nn.Conv2d(6, 6, 1), Whitening(6, groups=2, **options)).double()


def weighted(y: Tensor, x: Tensor) -> Tensor:
    return (y * x.sin()).nansum()


def train(rank: int, folder: Path, options: dict[str, object], images: Tensor) -> None:
    """One of the processes: a step on its share; what comes of it goes into a file."""
    torch.distributed.init_process_group(
        "gloo", init_method=f"file://{folder}/rendezvous", rank=rank, world_size=len(BATCHES)
    )
    x = images.split(BATCHES)[rank].clone().requires_grad_()
    model = DistributedDataParallel(network(sync=True, **options), broadcast_buffers=False)
    y = model(x)
    weighted(y, x.detach()).backward()
    (layer,) = (each for each in model.modules() if isinstance(each, Whitening))
    weights = {name: each.grad for name, each in model.module.named_parameters()}
    torch.save(
        {"y": y.detach(), "x": x.grad, "weights": weights, "statistics": dict(layer.named_buffers())},
        folder / f"{rank}.pt",
    )
    torch.distributed.destroy_process_group()


@pytest.mark.slow
@pytest.mark.parametrize("options", [{}, {"nonfinite": "zero"}], ids=str)
def test_two_processes_are_one_with_both_batches(tmp_path, options):
    images = mixed(sum(BATCHES), 6, 3, 2)
    if options:
        images[2, 1, 0, 0] = torch.nan
    multiprocessing.spawn(train, (tmp_path, options, images), nprocs=len(BATCHES))
    found = [torch.load(tmp_path / f"{rank}.pt") for rank in range(len(BATCHES))]
    x = images.clone().requires_grad_()
    model = network(**options)
    y = model(x)
    weighted(y, images).backward()
    close = {"rtol": 1e-9, "atol": 1e-9}  # the one decomposes the values, the other their covariance
    torch.testing.assert_close(torch.cat([each["y"] for each in found]), y.detach(), **close)
    torch.testing.assert_close(torch.cat([each["x"] for each in found]), x.grad, equal_nan=True, **close)
    for each in found:
        for name, buffer in model[1].named_buffers():
            torch.testing.assert_close(each["statistics"][name], buffer, **close)
        for name, parameter in model.named_parameters():  # DDP averages
            torch.testing.assert_close(2 * each["weights"][name], parameter.grad, equal_nan=True, **close)


def test_one_process_needs_no_group():
    x = mixed(8, 6, 3, 2)
    assert torch.equal(network(sync=True)(x), network()(x))
