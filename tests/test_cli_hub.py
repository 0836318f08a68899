"""Networks as folders on the command line: written from a run, tested, predicted with, trained on top of."""

from __future__ import annotations

import json
import shutil

import pytest
import torch
from PIL import Image

import gcp
from gcp.hub.files import CARD, CONFIG, WEIGHTS
from lightning_modules.classifier import Classifier
from tests.small import SMALL

WHOLE = ("trainer.accelerator=cpu", "callbacks.progress_bar=false", "trainer.limit_test_batches=2")


@pytest.fixture
def exported(cli, tmp_path):
    """A hybrid run, whose second method is the network's, and its folder."""
    training = ("switch.to=taylor", "switch.options.degree=9", "switch.at=epoch", "switch.epoch=1", "seed=3")
    small = [argument.replace("max_epochs=1", "max_epochs=2") for argument in SMALL]
    assert cli("method=pade", *training, *small, "data.batch_size=32", "hydra.run.dir=run").code == 0
    outcome = cli("mode=export", "export.format=hub", "ckpt_path=run/checkpoints/last.ckpt", "hydra.run.dir=out")
    assert outcome.code == 0, outcome.err
    assert "the same logits to the bit" in outcome.out
    return tmp_path / "out/hub"


def test_from_a_run_to_a_folder_and_back(cli, tmp_path, summary_of, exported):
    """Tested and predicted with as the checkpoint is, the images being those of the run."""
    assert {path.name for path in exported.iterdir()} == {CARD, CONFIG, WEIGHTS}
    assert summary_of(tmp_path / "out")["export/hub"] == "hub"
    model = gcp.from_pretrained(exported)
    assert (model.config.method, model.config.method_options["degree"]) == ("taylor", 9)
    assert (model.facts["data"]["name"], model.facts["data"]["image_size"]) == ("digits", 16)
    assert model.facts["preprocessing"]["class_names"] == [str(digit) for digit in range(10)]
    last = tmp_path / "run/checkpoints/last.ckpt"
    module = Classifier.load_from_checkpoint(last, weights_only=True, map_location="cpu").eval()
    images = torch.randn(4, 3, 16, 16)
    with torch.no_grad():
        assert torch.equal(model(images), module(images))

    Image.new("RGB", (20, 30), (200, 10, 90)).save(tmp_path / "picture.png")
    for path, name in ((exported, "by_folder"), (last, "by_run")):
        outcome = cli("mode=test", f"ckpt_path={path}", *WHOLE, "data.batch_size=32", f"hydra.run.dir={name}")
        assert outcome.code == 0, outcome.err
        outcome = cli("mode=predict", f"ckpt_path={path}", "data.path=picture.png", f"hydra.run.dir={name}_predicts")
        assert outcome.code == 0, outcome.err
    by_folder, by_run = summary_of(tmp_path / "by_folder"), summary_of(tmp_path / "by_run")
    for field in ("method", "backbone", "dataset", "params", "test/acc1", "test/loss"):
        assert by_folder[field] == by_run[field], field
    predicted = [(tmp_path / f"{name}_predicts/predictions.csv").read_text() for name in ("by_folder", "by_run")]
    assert predicted[0] == predicted[1]
    outcome = cli(f"ckpt_path={exported}", "mode=test", "method=pade", *WHOLE, "hydra.run.dir=refused")
    assert outcome.code == 1
    assert "the folder is of another network than asked for: method.name=pade (checkpoint: taylor)" in outcome.err


@pytest.mark.slow
def test_a_network_of_its_backbone_of_all_but_its_classifier_or_of_all_of_it(cli, tmp_path, exported):
    model = gcp.from_pretrained(exported)
    for arguments, whole in (
        (("method=isqrt", f"backbone.weights={exported}"), False),
        ((f"ckpt_path={exported}", "ckpt_classifier=new"), False),
        ((f"ckpt_path={exported}",), True),
    ):
        outcome = cli(*arguments, *SMALL, "optimizer.lr=1e-30", "hydra.run.dir=trained")
        assert outcome.code == 0, outcome.err
        state = torch.load(tmp_path / "trained/checkpoints/last.ckpt", weights_only=True)["state_dict"]
        first = next(iter(model.features.state_dict()))
        assert torch.equal(state[f"model.features.{first}"], model.features.state_dict()[first])
        assert torch.equal(state["model.classifier.weight"], model.classifier.weight) == whole
        shutil.rmtree(tmp_path / "trained")


@pytest.mark.slow
def test_what_contradicts_it_or_is_damaged_is_refused(cli, tmp_path, exported):
    for change, arguments, says in (
        (None, ("mode=test", "dataset=textures"), "data.name=textures (checkpoint: digits)"),
        (None, ("mode=test", "ckpt_triangle=lower"), "ckpt_triangle is for published checkpoints"),
        ({"method": "padee"}, ("mode=test",), "unknown method 'padee' (did you mean 'pade'?)"),
        ({"plugins": ["os"]}, ("mode=predict", "data.path=picture.png"), "the network has 'plugins'"),
        ({"num_classes": 3}, ("mode=test",), "are not those of the network of config.json (2 of another shape"),
        ({"num_classes": 3}, (), "are not those of the network of config.json"),
    ):
        shutil.copytree(exported, tmp_path / "wrong", dirs_exist_ok=True)
        contents = json.loads((exported / CONFIG).read_text())
        contents["network"].update(change or {})
        (tmp_path / "wrong" / CONFIG).write_text(json.dumps(contents))
        outcome = cli("ckpt_path=wrong", *arguments, *WHOLE, "hydra.run.dir=refused")
        assert outcome.code == 1, arguments
        assert says in outcome.err, outcome.err
        assert len(outcome.err.strip().splitlines()) == 1
    for change, says in (
        (None, "lies in a folder that does not say how pictures are prepared"),
        ({"image_size": "16"}, "image_size must be an integer, got '16'"),
        ({"image_size": 2**30}, "the network's preprocessing is of no images: sizes [1073741824]"),
        ({"mean": [0.5], "std": [0.5]}, "mean and deviation of [1, 1] channels"),
        ({"class_names": ["a"]}, "names 1 classes, and it tells 10 apart"),
        ({"run": "rm"}, "it has 'run', which means nothing here"),
    ):
        contents = json.loads((exported / CONFIG).read_text())
        contents["preprocessing"] = {} if change is None else {**contents["preprocessing"], **change}
        (tmp_path / "wrong" / CONFIG).write_text(json.dumps(contents))
        Image.new("RGB", (20, 30)).save(tmp_path / "picture.png")
        outcome = cli("mode=predict", "ckpt_path=wrong", "data.path=picture.png", "hydra.run.dir=refused")
        assert outcome.code == 1
        assert says in outcome.err, outcome.err
        assert len(outcome.err.strip().splitlines()) == 1
    outcome = cli("backbone.weights=wrong", "backbone=resnet18", "hydra.run.dir=refused")
    assert "the weights wrong are of another network" in outcome.err
    (tmp_path / "wrong" / WEIGHTS).write_bytes(b"cut short")
    outcome = cli("backbone.weights=wrong", *SMALL, "hydra.run.dir=refused")
    assert "no readable safetensors file" in outcome.err
