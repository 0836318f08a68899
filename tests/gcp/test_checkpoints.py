"""Published checkpoints: layouts, triangles, other classes, and files that are wrong in one way or another.

No published file is at hand: the files are made here, with the keys and shapes the reference's have
(`tests/reference/state_dict_manifest.json`) and the weights of `deterministic_weights.py`.
"""

from __future__ import annotations

import json
import os
import re
import warnings

import pytest
import torch
from torchvision import models

import gcp
from gcp.checkpoints.layouts import to_upper
from gcp.errors import CheckpointError, OptionError
from tests.conftest import ROOT
from tests.reference.deterministic_weights import fill, images

MANIFEST = json.loads((ROOT / "tests/reference/state_dict_manifest.json").read_text())
LOGITS = json.loads((ROOT / "tests/reference/logits_resnet18_pade.json").read_text())["resnet18/SVD_Pade/128"]
METHODS = {"SVD_Pade": "pade", "SVD_Newton": "newton", "SVD_Trunc": "trunc", "MPNCOV": "newton"}


def fabricated(name, value=None):
    """A state dict with the reference's keys and shapes, each tensor one number of its own; small when saved."""
    entries = MANIFEST[name].items()
    numbers = [float(index) if value is None else value for index in range(len(entries))]
    return {
        key: torch.tensor(number, dtype=torch.int64 if key.endswith("tracked") else None).expand(shape)
        for number, (key, shape) in zip(numbers, entries, strict=True)
    }


@pytest.fixture(scope="module")
def reference_state():
    """The reference's resnet18 with pade and 10 classes, deterministic weights."""
    state = {key: value.clone() for key, value in fabricated("resnet18/SVD_Pade").items()}
    fill(state)
    return state


@pytest.fixture
def model():
    torch.manual_seed(0)
    return gcp.create_model("resnet18", "pade", num_classes=10)


def snapshot(model):
    return {key: value.clone() for key, value in model.state_dict().items()}


def unchanged(model, before):
    return all(torch.equal(value, before[key]) for key, value in model.state_dict().items())


def small_state(model, parallel="module."):
    """The reference's keys for one of our models."""
    return {
        re.sub(r"^features\.", f"features.{parallel}", key).replace("reduction", "conv_dr_block"): value.clone()
        for key, value in model.state_dict().items()
    }


@pytest.mark.parametrize("name", MANIFEST)
def test_every_network_of_the_manifest_is_loaded_completely(tmp_path, name):
    torch.save({"epoch": 60, "arch": name.split("/")[0], "state_dict": fabricated(name)}, tmp_path / "file.pth.tar")
    backbone, method = name.split("/")
    with torch.device("meta"):
        model = gcp.create_model(backbone, METHODS[method], num_classes=10)
    model.to_empty(device="cpu")
    report = gcp.load_reference_checkpoint(model, tmp_path / "file.pth.tar")
    assert set(report.loaded) == set(model.state_dict())
    assert report.kept == ()
    assert report.architecture == backbone
    # In the order of the file, so that no two entries are exchanged.
    loaded = [value.flatten()[[0, -1]].tolist() for value in model.state_dict().values()]
    assert loaded == [[index, index] for index in range(len(loaded))]


@pytest.mark.parametrize("form", ["bare", "wrapped", "old format", "parallel outside", "single device", "half"])
def test_logits_agree_through_a_file(tmp_path, model, reference_state, form):
    """1e-4 for float32 through 18 layers in another order, 1e-2 where the file has half the digits."""
    state = dict(reference_state)
    if form == "parallel outside":
        state = {f"module.{key}": value for key, value in state.items()}
    if form == "single device":
        state = {key.replace("module.", ""): value for key, value in state.items()}
    if form == "half":
        state = {key: value.half() if value.is_floating_point() else value for key, value in state.items()}
    wrapped = {"epoch": 60, "arch": "resnet18", "state_dict": state, "best_prec1": torch.tensor(77.3), "optimizer": {}}
    contents = wrapped if form in ("wrapped", "old format") else state
    torch.save(contents, tmp_path / "pade.pth.tar", _use_new_zipfile_serialization=form != "old format")
    gcp.load_reference_checkpoint(model, tmp_path / "pade.pth.tar")
    tolerance = 1e-2 if form == "half" else 1e-4
    with torch.no_grad():
        logits = model.eval()(images(2, 128))
    assert torch.allclose(logits, torch.tensor(LOGITS), rtol=tolerance, atol=tolerance)


def parents_layout(state):
    """The same weights as fast-MPN-COV's mpncovresnet names them: torchvision's names, layer_reduce, fc."""
    children = [name for name, _ in models.resnet18(weights=None).named_children()]
    renamed = {}
    for key, value in state.items():
        new = re.sub(r"^features\.module\.(\d+)", lambda match: children[int(match[1])], key)
        new = new.replace("representation.conv_dr_block.0", "layer_reduce").replace("classifier", "fc")
        renamed["module." + new.replace("representation.conv_dr_block.1", "layer_reduce_bn")] = value
    return renamed


def test_the_parents_layout_and_its_triangle(tmp_path, model, reference_state):
    state = parents_layout(reference_state)
    assert {"module.layer1.0.conv1.weight", "module.layer_reduce.weight", "module.fc.weight"} <= set(state)
    size = 256
    upper = [(i, j) for i in range(size) for j in range(i, size)]
    position = {pair: k for k, pair in enumerate(upper)}
    lower = [position[j, i] for i in range(size) for j in range(i + 1)]
    state["module.fc.weight"] = state["module.fc.weight"][:, lower]
    torch.save({"state_dict": state}, tmp_path / "mpncov.pth.tar")
    gcp.load_reference_checkpoint(model, tmp_path / "mpncov.pth.tar", triangle="lower")
    with torch.no_grad():
        assert torch.allclose(model.eval()(images(2, 128)), torch.tensor(LOGITS), rtol=1e-4, atol=1e-4)
        gcp.load_reference_checkpoint(model, tmp_path / "mpncov.pth.tar")
        assert not torch.allclose(model(images(2, 128)), torch.tensor(LOGITS), rtol=1e-1, atol=1e-1)


def test_columns_follow_the_triangle():
    matrix = torch.arange(9).reshape(3, 3)
    symmetric = (matrix + matrix.T)[None].float()
    lower = torch.stack([symmetric[0, i, j] for i in range(3) for j in range(i + 1)])[None]
    upper = torch.stack([symmetric[0, i, j] for i in range(3) for j in range(i, 3)])[None]
    assert torch.equal(to_upper(lower, "lower"), upper)
    with pytest.raises(CheckpointError, match="vectors of length 7, which no triangle of a matrix has"):
        to_upper(torch.zeros(2, 7), "lower")


def test_other_classes_are_an_error_that_names_the_way_out(tmp_path, reference_state):
    torch.save(reference_state, tmp_path / "ten.pth.tar")
    model = gcp.create_model("resnet18", "pade", num_classes=4)
    before = snapshot(model)
    with pytest.raises(CheckpointError, match=r"is of 10 classes, this network of 4: .*classifier='new'"):
        gcp.load_reference_checkpoint(model, tmp_path / "ten.pth.tar")
    assert unchanged(model, before)
    with pytest.warns(UserWarning, match=r"the classifier is new, everything else is from .*ten\.pth\.tar"):
        report = gcp.load_reference_checkpoint(model, tmp_path / "ten.pth.tar", classifier="new")
    assert report.kept == ("classifier.weight", "classifier.bias")
    assert torch.equal(model.features[0].weight, reference_state["features.module.0.weight"])
    assert torch.equal(model.classifier.weight, before["classifier.weight"])


def test_a_complete_load_warns_of_nothing(tmp_path, model, reference_state):
    torch.save(reference_state, tmp_path / "ten.pth.tar")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        gcp.load_reference_checkpoint(model, tmp_path / "ten.pth.tar")


def test_batch_norm_counters_may_be_missing(tmp_path, model, reference_state):
    torch.save({k: v for k, v in reference_state.items() if "tracked" not in k}, tmp_path / "early.pth.tar")
    report = gcp.load_reference_checkpoint(model, tmp_path / "early.pth.tar")
    assert len(report.kept) == 21
    assert all(key.endswith("num_batches_tracked") for key in report.kept)


def tiny(**changes):
    settings = {"backbone_options": {"width": 16}, "reduced_channels": 4, **changes}
    torch.manual_seed(0)
    return gcp.create_model("tiny", settings.pop("method", "pade"), num_classes=3, **settings)


MISFITS = {
    "another backbone": (
        lambda: gcp.create_model("resnet18", "pade", 3, reduced_channels=4),
        r"backbone: 95 missing in the file \(features\.4\.0\.conv1\.weight, .*, \.\.\.\); 12 not in the network "
        r"\(.*\); 5 of another shape \(features\.0\.weight \(4, 3, 3, 3\) instead (.|\n)*of another backbone: choose",
    ),
    "another width of backbone": (lambda: tiny(backbone_options={"width": 8}), r"of another backbone: choose the one"),
    "another reduction": (lambda: tiny(reduced_channels=8), r"reduces to another number .* set reduced_channels=4"),
    "no reduction": (
        lambda: tiny(reduced_channels=None),
        r"channel reduction: 6 not in the network \(representation\.reduction\.0\.weight, .*, \.\.\.\)(.|\n)*this "
        r"network has no channel reduction",
    ),
    "another pooling": (lambda: tiny(method="average"), r"reads another vector: method, reduced_channels or hidden"),
    "hidden layers": (lambda: tiny(hidden=(5,)), r"differ in their hidden layers: set hidden"),
}


@pytest.mark.parametrize("case", MISFITS)
def test_a_checkpoint_of_another_network_is_explained(tmp_path, case):
    build, message = MISFITS[case]
    torch.save({"arch": "tiny", "state_dict": small_state(tiny())}, tmp_path / "wrong.pth")
    model = build()
    before = snapshot(model)
    with pytest.raises(CheckpointError, match=message) as raised:
        gcp.load_reference_checkpoint(model, tmp_path / "wrong.pth")
    assert str(raised.value).startswith(f"{tmp_path / 'wrong.pth'} does not fit this network (the file says arch=tiny)")
    assert "nothing was loaded" in str(raised.value)
    assert unchanged(model, before)


def test_a_plain_torchvision_file_lacks_the_reduction(tmp_path, model):
    torch.save(models.resnet18(weights=None).state_dict(), tmp_path / "resnet18.pth")
    before = snapshot(model)
    with pytest.raises(CheckpointError, match=r"the file's network has no channel reduction") as raised:
        gcp.load_reference_checkpoint(model, tmp_path / "resnet18.pth")
    assert "backbone:" not in str(raised.value)
    assert unchanged(model, before)
    average = gcp.create_model("resnet18", "average", num_classes=1000)
    assert gcp.load_reference_checkpoint(average, tmp_path / "resnet18.pth").kept == ()


def test_keys_that_belong_nowhere_are_listed(tmp_path):
    model = tiny()
    torch.save({**small_state(model), "optimiser.step": torch.zeros(1)}, tmp_path / "more.pth")
    with pytest.raises(CheckpointError, match=r"other: 1 not in the network \(optimiser\.step\)"):
        gcp.load_reference_checkpoint(model, tmp_path / "more.pth")
    torch.save({**small_state(model), **small_state(model, parallel="")}, tmp_path / "ours.pth")
    assert gcp.load_reference_checkpoint(model, tmp_path / "ours.pth").kept == ()


def test_two_layouts_in_one_file(tmp_path):
    model = tiny()
    state = small_state(model)
    torch.save({**state, "fc.weight": state["classifier.weight"]}, tmp_path / "two.pth")
    with pytest.raises(CheckpointError, match=r"holds classifier\.weight twice, once as fc\.weight"):
        gcp.load_reference_checkpoint(model, tmp_path / "two.pth")


class Payload:
    """A pickle of it calls ``os.mkdir``."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return os.mkdir, (str(self.path),)


@pytest.mark.parametrize("zipped", [True, False])
def test_a_pickle_with_code_runs_nothing(tmp_path, zipped):
    model = tiny()
    before = snapshot(model)
    contents = {"state_dict": small_state(model), "optimizer": Payload(tmp_path / "ran")}
    torch.save(contents, tmp_path / "code.pth", _use_new_zipfile_serialization=zipped)
    with pytest.raises(CheckpointError, match=r"asks for (posix|os)\.mkdir to be called; nothing was run"):
        gcp.load_reference_checkpoint(model, tmp_path / "code.pth")
    assert not (tmp_path / "ran").exists()
    assert unchanged(model, before)


@pytest.mark.parametrize("zipped", [True, False])
@pytest.mark.parametrize("part", [0.0, 0.02, 0.5, 0.99])
def test_a_truncated_file(tmp_path, zipped, part):
    model = tiny()
    before = snapshot(model)
    path = tmp_path / "cut.pth"
    torch.save(small_state(model), path, _use_new_zipfile_serialization=zipped)
    path.write_bytes(path.read_bytes()[: int(part * path.stat().st_size)])
    with pytest.raises(CheckpointError, match=r"cut\.pth is no readable checkpoint \(.*it may be cut short"):
        gcp.load_reference_checkpoint(model, path)
    assert unchanged(model, before)


@pytest.mark.parametrize(
    ("contents", "message"),
    [
        ({"epoch": 3}, "holds no weights but epoch"),
        ([1, 2], "holds no state dict but one list"),
        ({"state_dict": {}}, "holds no weights but nothing"),
    ],
)
def test_a_file_without_weights(tmp_path, contents, message):
    torch.save(contents, tmp_path / "other.pth")
    with pytest.raises(CheckpointError, match=message):
        gcp.load_reference_checkpoint(tiny(), tmp_path / "other.pth")


def test_mistakes_in_the_call(tmp_path):
    with pytest.raises(OptionError, match="triangle must be one of upper, lower, got 'left'"):
        gcp.load_reference_checkpoint(tiny(), "any.pth", triangle="left")
    with pytest.raises(OptionError, match="classifier must be one of load, new, got 'old'"):
        gcp.load_reference_checkpoint(tiny(), "any.pth", classifier="old")
    with pytest.raises(CheckpointError, match=r"no checkpoint file at any\.pth"):
        gcp.load_reference_checkpoint(tiny(), "any.pth")
