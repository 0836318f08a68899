"""FSDP2: networks whose parameters two processes share out, over gloo on the CPU."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
import timm
import torch
import torch.distributed as dist
from torch import Tensor, multiprocessing, nn
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import fully_shard
from torch.distributed.tensor import DTensor

import gcp
from gcp.methods import list_methods

RANKS = 2


def networks() -> dict[str, nn.Module]:
    """One for each method, and others' networks whose pooling was replaced, by a layer and by a head."""
    torch.manual_seed(0)
    options = {"power": {"learnable": False}}  # the learned exponent is a scalar, which fully_shard refuses
    built: dict[str, nn.Module] = {
        method: gcp.create_model(
            "tiny", method, 5, reduced_channels=6, backbone_options={"width": 8}, **options.get(method, {})
        )
        for method in list_methods()
    }
    built["replaced head"] = timm.create_model("test_vit", dynamic_img_size=True)
    built["replaced layer"] = nn.Sequential(
        nn.Conv2d(3, 8, 3, 2), nn.ReLU(), nn.Conv2d(8, 8, 3, 2), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(8, 5)
    )
    for name in ("replaced head", "replaced layer"):
        gcp.replace_pooling(built[name], "pade", num_classes=5, reduced_channels=6)
    return {name: model.eval() for name, model in built.items()}  # each sample on its own, in batch norm too


def images(rank: int) -> Tensor:
    return torch.randn(2, 3, 32, 32, generator=torch.Generator().manual_seed(rank))


def work(rank: int, folder: str) -> None:
    os.environ |= {"GLOO_SOCKET_IFNAME": "lo"}
    dist.init_process_group("gloo", init_method=f"file://{folder}/store", rank=rank, world_size=RANKS)
    mesh = init_device_mesh("cpu", (RANKS,))
    found = {}
    for name, model in networks().items():
        for part in (getattr(model, "features", None), getattr(model, "representation", None)):
            if part is not None:
                fully_shard(part, mesh=mesh)
        fully_shard(model, mesh=mesh)
        logits = model(images(rank))
        logits.square().sum().backward()
        grads = {key: each.grad for key, each in model.named_parameters() if each.grad is not None}
        assert all(isinstance(grad, DTensor) for grad in grads.values())
        found[name] = (logits.detach(), {key: grad.full_tensor() for key, grad in grads.items()})
    torch.save(found, f"{folder}/{rank}.pt")
    dist.destroy_process_group()


@pytest.mark.slow
def test_logits_and_gradients_are_those_of_one_process(tmp_path: Path) -> None:
    """Gradients are the mean of the ranks'."""
    multiprocessing.spawn(work, (str(tmp_path),), nprocs=RANKS)
    found = [torch.load(tmp_path / f"{rank}.pt") for rank in range(RANKS)]
    for name, model in networks().items():
        for rank in range(RANKS):
            logits = model(images(rank))
            torch.testing.assert_close(found[rank][name][0], logits.detach())
            (logits.square().sum() / RANKS).backward()
        for key, parameter in model.named_parameters():
            if parameter.grad is None:  # of the attention by which dropcov drops channels in training
                assert key not in found[0][name][1]
                continue
            for rank in range(RANKS):  # float32 sums in another order
                torch.testing.assert_close(found[rank][name][1][key], parameter.grad, rtol=1e-4, atol=1e-5)
