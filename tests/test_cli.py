"""run.py from the command line to the files it leaves."""

from __future__ import annotations

import csv
import json

import pytest
import torch
from omegaconf import OmegaConf

from gcp.methods import list_methods
from tests.small import SMALL

FIELDS = {
    "method", "backbone", "dataset", "seed", "status", "error", "params", "params_trainable", "epochs", "train_seconds",
    "images_per_second", "val/acc1", "test/acc1", "test/acc5", "test/loss",
}  # fmt: skip


@pytest.mark.parametrize("method", list_methods())
def test_every_method_trains_and_leaves_its_files(cli, tmp_path, summary_of, method):
    outcome = cli(f"method={method}", *SMALL, "hydra.run.dir=run")
    assert outcome.code == 0, outcome.err
    assert {path.name for path in (tmp_path / "run").iterdir()} >= {"config.yaml", "metrics.csv", "summary.json"}
    assert {path.name for path in (tmp_path / "run/checkpoints").iterdir()} == {"best.ckpt", "last.ckpt"}
    summary = summary_of(tmp_path / "run")
    assert set(summary) >= FIELDS
    assert (summary["status"], summary["method"], summary["dataset"], summary["seed"]) == ("ok", method, "digits", 0)
    assert summary["epochs"] == 1
    assert 0 <= summary["test/acc1"] <= summary["test/acc5"] <= 1
    assert summary["images_per_second"] > 0
    assert OmegaConf.load(tmp_path / "run/config.yaml").method.name == method
    rows = list(csv.DictReader((tmp_path / "run/metrics.csv").open()))
    assert {"train/loss_epoch", "train/acc1", "val/acc1", "val/loss", "test/acc1"} <= set(rows[0])
    assert "test accuracy" in outcome.out
    assert str(tmp_path / "run") in outcome.out.replace("\n", "")


def test_options_reach_the_layer(cli, tmp_path):
    assert cli("method=taylor", "method.degree=7", "method.reduced_channels=4", *SMALL, "hydra.run.dir=run").code == 0
    state = torch.load(tmp_path / "run/checkpoints/last.ckpt", weights_only=True)
    assert state["hyper_parameters"]["method"]["degree"] == 7
    assert state["state_dict"]["model.classifier.weight"].shape == (10, 4 * 5 // 2)


def test_the_same_seed_gives_the_same_run(cli, tmp_path, summary_of):
    for name, seed in (("a", 1), ("b", 1), ("c", 2)):
        assert cli(*SMALL, f"seed={seed}", "trainer.deterministic=true", f"hydra.run.dir={name}").code == 0
    losses = [summary_of(tmp_path / name)["test/loss"] for name in "abc"]
    assert losses[0] == losses[1] != losses[2]
    assert torch.are_deterministic_algorithms_enabled()
    torch.use_deterministic_algorithms(False)


def test_a_checkpoint_is_tested_with_its_own_configuration(cli, tmp_path, summary_of):
    assert cli("method=taylor", "method.degree=7", *SMALL, "hydra.run.dir=run").code == 0
    fitted = summary_of(tmp_path / "run")
    for directory, path in (("again", "run"), ("once_more", "run/checkpoints/best.ckpt")):
        outcome = cli("mode=test", f"ckpt_path={path}", f"hydra.run.dir={directory}")
        assert outcome.code == 0, outcome.err
        tested = summary_of(tmp_path / directory)
        assert tested["method"] == "taylor"
        assert tested["test/loss"] == pytest.approx(fitted["test/loss"], rel=1e-6)  # same weights, same images
    clash = cli("mode=test", "ckpt_path=run", "method=newton")
    assert clash.code == 1
    assert "method.name=newton (checkpoint: taylor)" in clash.err
    clash = cli("mode=test", "ckpt_path=run", "method=taylor", "method.degree=8")
    assert "method.degree=8 (checkpoint: 7)" in clash.err
    assert cli("mode=test", "ckpt_path=run", "method=taylor", "data.eval_batch_size=8").code == 0


def test_last_is_the_newest_run_or_the_one_named(cli, tmp_path, summary_of):
    for method in ("pade", "newton"):
        assert cli(f"method={method}", *SMALL).code == 0
    assert cli("mode=test", "ckpt_path=last").code == 0
    newest = max(tmp_path.glob("outputs/*/*/summary.json"), key=lambda path: path.stat().st_mtime)
    assert json.loads(newest.read_text())["method"] == "newton"
    first = min(tmp_path.glob("outputs/*/*/checkpoints"), key=lambda path: path.stat().st_mtime).parent
    assert cli("mode=test", "ckpt_path=last", f"hydra.run.dir={first.relative_to(tmp_path)}").code == 0
    summary = summary_of(first)
    assert (summary["mode"], summary["method"], summary["epochs"]) == ("test", "pade", 1)  # training stays on record
    assert OmegaConf.load(first / "config.yaml").mode == "fit"


def test_weights_of_another_network_are_refused(cli, tmp_path):
    assert cli(*SMALL, "hydra.run.dir=run").code == 0
    checkpoint = torch.load(tmp_path / "run/checkpoints/last.ckpt", weights_only=True)
    checkpoint["config"]["backbone"]["width"] = 12
    torch.save(checkpoint, tmp_path / "other.ckpt")
    outcome = cli("mode=test", "ckpt_path=other.ckpt")
    assert outcome.code == 1
    assert "are of another network" in outcome.err


def test_going_on_gives_the_same_weights_as_not_stopping(cli, tmp_path, summary_of):
    longer = [argument for argument in SMALL if "max_epochs" not in argument]
    assert cli(*longer, "trainer.max_epochs=3", "hydra.run.dir=whole").code == 0
    assert cli(*longer, "trainer.max_epochs=2", "hydra.run.dir=parts").code == 0
    outcome = cli("ckpt_path=last", "trainer.max_epochs=3", "hydra.run.dir=parts")
    assert outcome.code == 0, outcome.err
    whole, parts = (
        torch.load(tmp_path / name / "checkpoints/last.ckpt", weights_only=True) for name in ("whole", "parts")
    )
    for name, value in whole["state_dict"].items():
        assert torch.equal(value, parts["state_dict"][name]), name
    assert summary_of(tmp_path / "parts")["epochs"] == 3
    rows = [list(csv.DictReader((tmp_path / name / "metrics.csv").open())) for name in ("whole", "parts")]
    accuracies = [[row["val/acc1"] for row in each if row["val/acc1"]] for each in rows]
    assert accuracies[0] == accuracies[1]  # the first part's rows are kept
    refused = cli("ckpt_path=parts", "optimizer.lr=0.5")
    assert "optimizer.lr=0.5 (checkpoint: 0.1)" in refused.err


def test_multirun_gives_each_job_its_directory_and_goes_on_after_a_failure(cli, tmp_path, summary_of):
    outcome = cli("-m", "method=pade,average", "backbone.width=8,12", *SMALL[1:], "hydra.sweep.dir=sweep")
    assert outcome.code == 0, outcome.err
    directories = sorted(path for path in (tmp_path / "sweep").iterdir() if path.is_dir())
    assert [path.name.split("-", 1)[1] for path in directories] == [
        "pade-tiny-digits-s0-backbone.width=8",
        "pade-tiny-digits-s0-backbone.width=12",
        "average-tiny-digits-s0-backbone.width=8",
        "average-tiny-digits-s0-backbone.width=12",
    ]
    assert "pade-tiny-digits-s0-backbone.width=12" in outcome.out
    text = (tmp_path / "sweep/sweep.md").read_text()
    assert "| method | backbone.width | test acc |" in text
    assert {summary_of(path)["status"] for path in directories} == {"ok"}


def test_a_failing_job_leaves_the_others_alone(cli, tmp_path, summary_of):
    others = [argument for argument in SMALL if "image_size" not in argument]
    outcome = cli("-m", "data.image_size=8,16", *others, "hydra.sweep.dir=sweep")
    assert outcome.code == 1
    assert "feature map of 1x1" in outcome.err
    assert "Traceback" not in outcome.err
    first, second = sorted(path for path in (tmp_path / "sweep").iterdir() if path.is_dir())
    assert summary_of(first)["status"] == "failed"
    assert "feature map of 1x1" in summary_of(first)["error"]
    assert summary_of(second)["status"] == "ok"


def test_a_plugin_adds_a_method_and_a_backbone(cli, tmp_path, summary_of):
    (tmp_path / "my_plugin.py").write_text(
        "from dataclasses import dataclass\n"
        "import gcp\n"
        "from gcp.methods import SpectralOptions\n"
        "from gcp.options import option\n"
        "@dataclass(frozen=True)\n"
        "class HalfOptions(SpectralOptions):\n"
        "    factor: float = option(0.5, 'of the exact gradient', above=0)\n"
        "def half(spectrum, options):\n"
        "    return options.factor * spectrum.with_limits(spectrum.divided_differences())\n"
        "def build(info, options):\n"
        "    from gcp.backbones.tiny import build\n"
        "    from gcp.backbones.registry import TinyOptions\n"
        "    return build(info, TinyOptions(width=8))\n"
        "gcp.register_method('half', options=HalfOptions, kernel=half)\n"
        "gcp.register_backbone('narrow', build)\n"
    )
    small = [argument for argument in SMALL if not argument.startswith("backbone")]
    arguments = ("plugins=[my_plugin]", "method=half", "method.factor=0.25", "backbone=narrow", *small)
    outcome = cli(*arguments, "hydra.run.dir=run")
    assert outcome.code == 0, outcome.err
    assert summary_of(tmp_path / "run")["method"] == "half"
    assert OmegaConf.load(tmp_path / "run/config.yaml").method.factor == 0.25
    assert "method.factor must be greater than 0" in cli("plugins=[my_plugin]", "method=half", "method.factor=-1").err
