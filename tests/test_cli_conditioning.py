"""Runs with conditioned layers from the command line: tested, predicted and exported; what cannot be is said."""

from __future__ import annotations

import csv
import shutil

import pytest
import torch

from tests.small import SMALL

THREE = ("training.orthogonal_gradient=true", "training.optimal_lr=true", "training.orthogonal_weights=true")
RUN = (*SMALL, *THREE, "method.reduced_channels=4", "backbone.whitening=first", "trainer.log_every_n_steps=1")


def test_a_run_is_tested_exported_and_begun_again(cli, tmp_path, summary_of):
    outcome = cli(
        *RUN, "callbacks.smoothness_every_n_steps=1", "callbacks.spectrum_every_n_steps=1", "hydra.run.dir=run"
    )
    assert outcome.code == 0, outcome.err
    with (tmp_path / "run/metrics.csv").open() as file:
        rates = [float(row["grad/optimal_rate"]) for row in csv.DictReader(file) if row["grad/optimal_rate"]]
    assert len(rates) == 2
    assert all(0 < rate <= 0.1 for rate in rates)
    checkpoint = torch.load(tmp_path / "run/checkpoints/last.ckpt", weights_only=True)
    assert checkpoint["hyper_parameters"]["backbone"]["whitening"] == "first"
    state = checkpoint["state_dict"]
    assert "model.features.1.running_covariance" in state
    assert "model.representation.reduction.0.parametrizations.weight.original" in state
    test = cli("mode=test", "ckpt_path=run/checkpoints/last.ckpt", "hydra.run.dir=test")
    assert test.code == 0, test.err
    assert summary_of(tmp_path / "test")["test/loss"] == summary_of(tmp_path / "run")["test_final/loss"]
    export = cli("mode=export", "ckpt_path=run/checkpoints/last.ckpt", "hydra.run.dir=export")
    assert export.code == 0, export.err
    assert summary_of(tmp_path / "export")["export/torch_difference"] < 1e-4
    program = torch.export.load(tmp_path / "export/model.pt2")
    assert not [name for name in program.state_dict if "parametrizations" in name]
    again = cli(
        *SMALL, "ckpt_path=run/checkpoints/last.ckpt", "ckpt_classifier=new", "dataset=textures", "hydra.run.dir=again"
    )
    assert again.code == 0, again.err
    assert summary_of(tmp_path / "again")["status"] == "ok"


@pytest.mark.slow
def test_a_run_predicts(cli, tmp_path):
    from PIL import Image

    assert cli(*RUN, "hydra.run.dir=run").code == 0
    (tmp_path / "pictures").mkdir()
    Image.new("RGB", (20, 20)).save(tmp_path / "pictures/a.png")
    shutil.copy(tmp_path / "pictures/a.png", tmp_path / "pictures/b.png")
    outcome = cli("mode=predict", "ckpt_path=run/checkpoints/last.ckpt", "data.path=pictures", "hydra.run.dir=predict")
    assert outcome.code == 0, outcome.err
    assert (tmp_path / "predict/predictions.csv").read_text().count("\n") == 3


@pytest.mark.slow
def test_compiled_and_in_mixed_precision_and_over_two_processes(cli, tmp_path, summary_of):
    for name, more in (
        ("compiled", ("compile=true",)),
        ("mixed", ("trainer.precision=bf16-mixed", "trainer.accumulate_grad_batches=2")),
        ("double", ("trainer.precision=64-true",)),
        ("two", ("trainer=ddp_cpu", "data.batch_size=8")),
    ):
        outcome = cli(*RUN, *more, f"hydra.run.dir={name}")
        assert outcome.code == 0, (name, outcome.err)
        assert summary_of(tmp_path / name)["status"] == "ok"


def test_what_cannot_be_is_one_sentence(cli, tmp_path):
    for arguments, says in (
        (THREE[:1], "training.orthogonal_gradient is for the layer before the covariance, and there is none"),
        ((*RUN, "trainer.strategy=fsdp"), "training.orthogonal_gradient needs whole weights on each device"),
        ((*RUN, "backbone.frozen=1"), "features.0 is frozen"),
        (
            ("optimizer=torch", "optimizer.arguments.fused=true", "trainer.precision=16-mixed"),
            "or set trainer.gradient_clip_val=null",
        ),
    ):
        outcome = cli(*SMALL, *arguments)
        assert outcome.code == 1, says
        assert says in outcome.err
        assert "Traceback" not in outcome.err
    assert not list(tmp_path.iterdir())


@pytest.mark.slow
def test_a_checkpoint_binds(cli, tmp_path):
    assert cli(*SMALL, "method.reduced_channels=4", "hydra.run.dir=run").code == 0
    for more, says in (
        ((), "training.orthogonal_weights=true (checkpoint: false)"),
        (("mode=test",), "training.orthogonal_weights=true (checkpoint: false)"),
        (("ckpt_classifier=new", "dataset=textures"), "has training.orthogonal_weights=false; leave that out"),
    ):
        outcome = cli("ckpt_path=run/checkpoints/last.ckpt", THREE[2], *more)
        assert outcome.code == 1, more
        assert says in outcome.err
