"""Published checkpoints on the command line: tested, trained on, and refused in one sentence."""

from __future__ import annotations

import pytest
import torch
from omegaconf import OmegaConf

import gcp
from tests.small import SMALL

NETWORK = ("backbone.width=8", "data.image_size=16")  # the composed configuration decides the network
REST = tuple(argument for argument in SMALL if argument not in NETWORK)
SETTINGS = (*NETWORK, *REST, "hydra.run.dir=run")


def published(path, num_classes=10, **changes):
    """A checkpoint as the reference writes it, of the network of NETWORK; the network's own state beside it."""
    torch.manual_seed(1)
    model = gcp.create_model("tiny", "pade", num_classes, backbone_options={"width": 8}, **changes)
    state = {key.replace("features.", "features.module."): value for key, value in model.state_dict().items()}
    torch.save({"epoch": 60, "arch": "tiny", "state_dict": state, "best_prec1": 77.3, "optimizer": {}}, path)
    return {f"model.{key}": value for key, value in model.state_dict().items()}


def trained(tmp_path, name="last"):
    return torch.load(tmp_path / f"run/checkpoints/{name}.ckpt", weights_only=True)


def test_it_is_tested_and_is_where_training_starts(cli, tmp_path, summary_of, monkeypatch):
    state = published(tmp_path / "pade_tiny.pth.tar")
    read, load = [], torch.load
    monkeypatch.setattr(torch, "load", lambda file, *rest, **more: read.append(file) or load(file, *rest, **more))
    outcome = cli("mode=test", "ckpt_path=pade_tiny.pth.tar", *SETTINGS, "hydra.run.dir=tested")
    assert outcome.code == 0, outcome.err
    summary = summary_of(tmp_path / "tested")
    assert (summary["status"], summary["ckpt_path"]) == ("ok", "pade_tiny.pth.tar")
    assert [file.name for file in read] == ["pade_tiny.pth.tar"]  # once
    before = summary["test/loss"]
    frozen = ("optimizer.lr=1e-30", "backbone.frozen=9")
    outcome = cli("ckpt_path=pade_tiny.pth.tar", *frozen, *SETTINGS)
    assert outcome.code == 0, outcome.err
    checkpoint = trained(tmp_path)
    assert checkpoint["global_step"] == 2  # a new run, not one that goes on
    assert all(torch.equal(value, state[key]) for key, value in checkpoint["state_dict"].items())
    assert summary_of(tmp_path / "run")["test/loss"] == pytest.approx(before, rel=1e-6)
    resumed = cli("ckpt_path=last", "trainer.max_epochs=2", "hydra.run.dir=run")  # and that run goes on as any other
    assert resumed.code == 0, resumed.err
    assert trained(tmp_path)["global_step"] == 4


def test_the_order_of_the_triangle_reaches_the_classifier(cli, tmp_path, summary_of):
    published(tmp_path / "upper.pth")
    contents = torch.load(tmp_path / "upper.pth", weights_only=True)
    weight = 50 * contents["state_dict"]["classifier.weight"]  # large enough for the order to show in the loss
    position = torch.zeros(8, 8, dtype=torch.int64)
    position[tuple(torch.triu_indices(8, 8))] = torch.arange(36)
    lower = position.T[tuple(torch.tril_indices(8, 8))]
    for name, columns in (("upper", slice(None)), ("lower", lower)):
        contents["state_dict"]["classifier.weight"] = weight[:, columns]
        torch.save(contents, tmp_path / f"{name}.pth")
    losses = []
    for arguments in (("upper.pth",), ("lower.pth", "ckpt_triangle=lower"), ("lower.pth",)):
        directory = f"run{len(losses)}"
        assert (
            cli("mode=test", f"ckpt_path={arguments[0]}", *arguments[1:], *SETTINGS, f"hydra.run.dir={directory}").code
            == 0
        )
        losses.append(summary_of(tmp_path / directory)["test/loss"])
    assert losses[0] == pytest.approx(losses[1], rel=1e-6)
    assert losses[0] != pytest.approx(losses[2], rel=1e-2)


def test_other_classes_need_a_new_classifier(cli, tmp_path):
    state = published(tmp_path / "thousand.pth.tar", num_classes=1000)
    refused = cli("ckpt_path=thousand.pth.tar", *SETTINGS)
    assert refused.code == 1
    assert "the file is of 1000 classes, this network of 10" in refused.err
    assert "ckpt_classifier=new" in refused.err
    with pytest.warns(UserWarning, match="the classifier is new"):
        outcome = cli("ckpt_path=thousand.pth.tar", "ckpt_classifier=new", "backbone.frozen=9", *SETTINGS)
    assert outcome.code == 0, outcome.err
    weights = trained(tmp_path)["state_dict"]
    assert torch.equal(weights["model.features.0.weight"], state["model.features.0.weight"])
    assert weights["model.classifier.weight"].shape == (10, 36)


def test_hidden_layers_and_frozen_children_are_part_of_the_run(cli, tmp_path):
    published(tmp_path / "hidden.pth", hidden=(6,))
    assert "set hidden" in cli("ckpt_path=hidden.pth", *SETTINGS).err
    outcome = cli("ckpt_path=hidden.pth", "backbone.hidden=[6]", *SETTINGS)
    assert outcome.code == 0, outcome.err
    assert OmegaConf.load(tmp_path / "run/config.yaml").backbone.hidden == [6]
    again = cli("mode=test", "ckpt_path=run", "hydra.run.dir=again")
    assert again.code == 0, again.err
    assert "backbone.hidden=[7] (checkpoint: [6])" in cli("mode=test", "ckpt_path=run", "backbone.hidden=[7]").err


def test_pretrained_weights_bring_a_linear_classifier_that_is_restored(cli, tmp_path):
    backbone = gcp.create_backbone("vgg11")
    torch.save({f"features.{key}": value for key, value in backbone.state_dict().items()}, tmp_path / "vgg11.pth")
    network = ("backbone=vgg11", "backbone.weights=vgg11.pth", "backbone.frozen=20", "method.reduced_channels=4")
    settings = ("data.image_size=32", "data.batch_size=4", *REST, "hydra.run.dir=run")
    limits = [argument.replace("=2", "=1") if "limit" in argument else argument for argument in settings]
    outcome = cli(*network, *[each for each in limits if each != "data.batch_size=16"])
    assert outcome.code == 0, outcome.err
    assert torch.equal(trained(tmp_path)["state_dict"]["model.features.0.weight"], backbone[0].weight)
    (tmp_path / "vgg11.pth").unlink()
    again = cli("mode=test", "ckpt_path=run", "hydra.run.dir=again")
    assert again.code == 0, again.err
    assert trained(tmp_path)["state_dict"]["model.classifier.weight"].shape == (10, 10)


@pytest.mark.parametrize("mode", ["fit", "test"])
def test_a_checkpoint_that_does_not_fit(cli, tmp_path, mode):
    published(tmp_path / "pade_tiny.pth.tar")
    outcome = cli(f"mode={mode}", "ckpt_path=pade_tiny.pth.tar", "backbone.width=12", *SETTINGS[1:])
    assert outcome.code == 1
    assert "pade_tiny.pth.tar does not fit this network (the file says arch=tiny); nothing was loaded" in outcome.err
    assert "Traceback" not in outcome.err
    assert not list(tmp_path.glob("**/*.ckpt"))


def test_options_of_published_checkpoints_are_refused_for_our_own(cli, tmp_path):
    assert cli(*SETTINGS).code == 0
    outcome = cli("ckpt_path=run", "ckpt_triangle=lower")
    assert outcome.code == 1
    assert "was written by run.py" in outcome.err
