"""Stochastic weight averaging: the mean it claims, the statistics of batch norm, the learning rate, resuming."""

from __future__ import annotations

import copy
import csv
from types import SimpleNamespace

import pytest
import torch
from pytorch_lightning.callbacks import Callback
from pytorch_lightning.plugins import Precision
from torch import nn
from torch.optim.swa_utils import update_bn

from lightning_modules.callbacks.swa import StochasticAveraging, renew_statistics
from lightning_modules.classifier import Classifier
from lightning_modules.settings.callback_options import SWAOptions
from tests.lightning_modules.test_classifier import classifier, loader, trainer
from tests.small import SMALL

RUN = (
    *(argument for argument in SMALL if "max_epochs" not in argument),
    "callbacks.swa.from_epoch=2",
    "callbacks.swa.lr=0.02",
    "callbacks.swa.anneal_epochs=1",
    "optimizer.lr=0.1",
    "optimizer.classifier_factor=2",
    "schedule=constant",
)


class Recorder(Callback):
    def __init__(self):
        self.trained, self.validated = [], []

    def on_train_batch_end(self, trainer, pl_module, outputs, batch, batch_idx):
        if trainer.is_last_batch:
            self.trained.append([parameter.detach().clone() for parameter in pl_module.parameters()])

    def on_validation_end(self, trainer, pl_module):
        assert all(torch.equal(a, b) for a, b in zip(self.trained[-1], pl_module.parameters(), strict=True))

    def on_validation_batch_end(self, trainer, pl_module, outputs, batch, batch_idx, dataloader_idx=0):
        self.validated.append([parameter.detach().clone() for parameter in pl_module.parameters()])


def mean(weights):
    return [torch.stack(each).mean(0) for each in zip(*weights, strict=True)]


def test_the_mean_of_the_last_epochs_is_validated_and_left(tmp_path):
    module, data, recorder = classifier(), loader(16), Recorder()
    averaging = StochasticAveraging(SWAOptions(from_epoch=2))
    run = trainer(tmp_path, callbacks=[recorder, averaging], max_epochs=4, num_sanity_val_steps=0, limit_val_batches=1)
    run.fit(module, data, data)
    assert averaging.summary_entries == {"swa/epochs": 3}
    for epoch, validated in enumerate(recorder.validated):
        expected = recorder.trained[0] if epoch == 0 else mean(recorder.trained[1 : epoch + 1])
        for got, right in zip(validated, expected, strict=True):
            torch.testing.assert_close(got, right, rtol=1e-5, atol=1e-6)  # a running mean in float32
    for got, right in zip(module.parameters(), mean(recorder.trained[1:]), strict=True):
        torch.testing.assert_close(got.detach(), right, rtol=1e-5, atol=1e-6)


def test_the_statistics_of_batch_norm_are_those_torch_computes_and_frozen_ones_stay():
    module, data = classifier(), loader(24)
    expected = copy.deepcopy(module.model)
    update_bn(data, expected)
    state = torch.get_rng_state()
    stub = SimpleNamespace(
        datamodule=SimpleNamespace(train_dataloader=lambda: data),
        precision_plugin=Precision(),
        num_training_batches=len(data),
        world_size=1,
    )
    renew_statistics(stub, module.train(), 100)
    assert torch.equal(torch.get_rng_state(), state)
    layers = [(name, layer) for name, layer in module.model.named_modules() if isinstance(layer, nn.BatchNorm2d)]
    assert layers
    for name, layer in layers:
        right = expected.get_submodule(name)
        assert torch.equal(layer.running_mean, right.running_mean)
        assert torch.equal(layer.running_var, right.running_var)
        assert layer.momentum == right.momentum == 0.1
    frozen = layers[0][1].eval()
    before = frozen.running_mean.fill_(3.0).clone()
    renew_statistics(stub, module, 1)
    assert torch.equal(frozen.running_mean, before)


def rates(directory):
    with (directory / "metrics.csv").open() as file:
        rows = list(csv.DictReader(file))
    names = [name for name in rows[0] if name.startswith("lr-") and "classifier" in name]
    return [float(row[names[0]]) for row in rows if row[names[0]]]


@pytest.mark.slow
def test_a_killed_run_comes_to_the_same_weights_and_the_learning_rate_goes_where_it_should(
    cli, tmp_path, summary_of, monkeypatch
):
    assert cli(*RUN, "trainer.max_epochs=4", "hydra.run.dir=whole").code == 0
    step = Classifier.training_step

    def dies(self, batch, batch_idx):
        if self.current_epoch == 2 and batch_idx == 1:
            raise KeyError("killed")
        return step(self, batch, batch_idx)

    monkeypatch.setattr(Classifier, "training_step", dies)
    assert cli(*RUN, "trainer.max_epochs=4", "callbacks.checkpoint_every_n_steps=1", "hydra.run.dir=run").code == 1
    monkeypatch.setattr(Classifier, "training_step", step)
    resumed = cli("ckpt_path=last", "hydra.run.dir=run")
    assert resumed.code == 0, resumed.err
    first, second = (
        torch.load(tmp_path / name / "checkpoints/last.ckpt", weights_only=True) for name in ("whole", "run")
    )
    for part in ("state_dict", "current_model_state"):
        assert all(torch.equal(value, second[part][name]) for name, value in first[part].items())
    assert any(
        not torch.equal(first["state_dict"][name], value) for name, value in first["current_model_state"].items()
    )
    assert summary_of(tmp_path / "run")["swa/epochs"] == 3
    assert summary_of(tmp_path / "run")["test/acc1"] == summary_of(tmp_path / "whole")["test/acc1"]
    assert rates(tmp_path / "whole") == pytest.approx([0.2, 0.12, 0.04, 0.04])  # twice the rest's, half-way in between
    test = cli("mode=test", "ckpt_path=whole/checkpoints/last.ckpt", "hydra.run.dir=test")
    assert test.code == 0, test.err
    whole = summary_of(tmp_path / "whole")
    assert summary_of(tmp_path / "test")["test/acc1"] == whole["test_final/acc1"]  # the averaged weights
    off = cli("ckpt_path=last", "hydra.run.dir=run", "callbacks.swa.enabled=false", "trainer.max_epochs=5")
    assert off.code == 1
    assert "callbacks.swa.enabled=false (checkpoint: true)" in off.err


def test_what_does_not_go_together_is_refused(cli, tmp_path):
    outcome = cli(*SMALL, "callbacks.swa.enabled=true", "training.ema_decay=0.9")
    assert outcome.code == 1
    assert "set callbacks.swa.enabled=false or training.ema_decay=null" in outcome.err
    outcome = cli(*SMALL, "callbacks.swa.enabled=true", "trainer.strategy=fsdp")
    assert outcome.code == 1
    assert "callbacks.swa needs whole weights on each device" in outcome.err
    assert not list(tmp_path.iterdir())


def test_an_averaging_beyond_the_end_is_said(cli, summary_of, tmp_path):
    outcome = cli(*SMALL, "callbacks.swa.from_epoch=7", "hydra.run.dir=run")
    assert outcome.code == 0, outcome.err
    assert "weights are averaged from epoch 7 on, which is after the last one: trainer.max_epochs=1" in outcome.err
    assert summary_of(tmp_path / "run")["swa/epochs"] == 0
