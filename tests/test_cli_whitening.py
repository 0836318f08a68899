"""Runs with backbone.whitening=first: trained, tested, resumed, exported; the recipe; several devices."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from gcp import Whitening
from lightning_modules.distributed.sync_statistics import SyncStatistics
from tests.small import SMALL

WHITENED = (*SMALL, "backbone.whitening=first")


@pytest.mark.slow
def test_it_is_trained_recorded_and_exported(cli, tmp_path, summary_of):
    outcome = cli(*WHITENED, "callbacks.swa.from_epoch=1", "hydra.run.dir=run")
    assert outcome.code == 0, outcome.err
    checkpoint = torch.load(tmp_path / "run/checkpoints/last.ckpt", weights_only=True)
    assert checkpoint["hyper_parameters"]["backbone"]["whitening"] == "first"
    assert "model.features.1.running_covariance" in checkpoint["state_dict"]
    assert int(checkpoint["state_dict"]["model.features.1.num_batches_tracked"]) == 2
    outcome = cli("mode=test", "ckpt_path=run/checkpoints/last.ckpt", "hydra.run.dir=test")
    assert outcome.code == 0, outcome.err
    assert summary_of(tmp_path / "test")["test/loss"] == summary_of(tmp_path / "run")["test_final/loss"]
    outcome = cli("mode=export", "ckpt_path=run/checkpoints/last.ckpt", "hydra.run.dir=export")
    assert outcome.code == 0, outcome.err
    assert summary_of(tmp_path / "export")["export/torch_difference"] < 1e-4
    outcome = cli("ckpt_path=run/checkpoints/last.ckpt", "backbone.whitening=null", "hydra.run.dir=run")
    assert outcome.code == 1
    assert "backbone.whitening=null (checkpoint: first)" in outcome.err


@pytest.mark.slow
def test_the_recipe_decorrelates(cli, tmp_path, summary_of):
    outcome = cli("recipe=decorrelated_digits", "trainer.accelerator=cpu", "hydra.run.dir=run")
    assert outcome.code == 0, outcome.err
    summary = summary_of(tmp_path / "run")
    assert (summary["method"], summary["dataset"]) == ("average", "digits")
    assert summary["test/acc1"] > 0.9  # 95 % without whitening
    onnx = cli("mode=export", "export.format=both", "ckpt_path=run/checkpoints/last.ckpt", "hydra.run.dir=export")
    assert onnx.code == 0, onnx.err
    assert summary_of(tmp_path / "export")["export/onnx_difference"] < 1e-4


@pytest.mark.slow
def test_two_processes_with_statistics_of_both(cli, tmp_path, summary_of):
    ddp = (*WHITENED, "trainer=ddp_cpu", "data.batch_size=8", "backbone.width=8")
    outcome = cli(*ddp, "hydra.run.dir=run")
    assert outcome.code == 0, outcome.err
    assert summary_of(tmp_path / "run")["status"] == "ok"


def test_sync_batchnorm_is_for_whitening_too():
    model = nn.Sequential(nn.Sequential(Whitening(4), nn.BatchNorm2d(4)), nn.BatchNorm2d(4))
    whitening = model[0][0]
    model = SyncStatistics().apply(model)
    assert [type(each) for each in (*model[0], model[1])] == [Whitening, nn.SyncBatchNorm, nn.SyncBatchNorm]
    assert model[0][0] is whitening
    assert whitening.sync


def test_a_backbone_without_batch_norm_is_one_sentence(cli, tmp_path):
    outcome = cli("backbone=vgg11", "backbone.whitening=first", "trainer.accelerator=cpu")
    assert outcome.code == 1
    assert "the backbone vgg11 cannot be whitened" in outcome.err
    assert "leave whitening out" in outcome.err
    assert "Traceback" not in outcome.err
    assert not list(tmp_path.iterdir())
    outcome = cli(*SMALL, "backbone.whitening=all")
    assert outcome.code == 1
    assert "backbone.whitening must be one of first, got 'all'" in outcome.err
