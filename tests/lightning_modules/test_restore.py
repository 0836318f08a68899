"""Finding checkpoints and merging configurations."""

from __future__ import annotations

import os

import pytest
import torch

from gcp.errors import CheckpointError
from lightning_modules.restore import find, merge, read

STORED = {
    "mode": "fit",
    "seed": 1,
    "ckpt_path": None,
    "plugins": [],
    "method": {"name": "taylor", "degree": 7},
    "backbone": {"name": "resnet18", "weights": "DEFAULT"},
    "data": {"name": "digits", "batch_size": 32},
    "optimizer": {"name": "sgd", "lr": 0.1},
    "schedule": {"name": "step"},
    "trainer": {"max_epochs": 5},
    "logger": {"name": "csv"},
}


def asked(**changes):
    config = {**STORED, "method": {"name": "pade"}, "mode": "test", "ckpt_path": "x.ckpt", "seed": 0}
    return {**config, **changes}


def test_the_checkpoint_decides_what_was_not_asked_for():
    merged = merge(asked(trainer={"max_epochs": 9}), STORED, ["trainer.max_epochs"], training=False)
    assert merged["method"] == STORED["method"]
    assert merged["seed"] == 1
    assert merged["trainer"] == {"max_epochs": 9}
    assert (merged["mode"], merged["ckpt_path"]) == ("test", "x.ckpt")
    assert merged["backbone"]["weights"] is None
    assert STORED["backbone"]["weights"] == "DEFAULT"


def test_contradictions_are_listed_with_both_values():
    with pytest.raises(CheckpointError, match=r"method\.name=pade \(checkpoint: taylor\)"):
        merge(asked(), STORED, ["method.name"], training=False)
    changed = asked(optimizer={"name": "sgd", "lr": 0.5}, method=STORED["method"])
    assert merge(changed, STORED, ["optimizer.lr", "method.name"], training=False)["optimizer"]["lr"] == 0.5
    with pytest.raises(CheckpointError, match=r"optimizer\.lr=0\.5 \(checkpoint: 0\.1\)"):
        merge(changed, STORED, ["optimizer.lr"], training=True)


def test_where_checkpoints_are_looked_for(tmp_path):
    outputs = tmp_path / "outputs"
    for index, name in enumerate(("old", "new")):
        folder = outputs / "day" / name / "checkpoints"
        folder.mkdir(parents=True)
        for file in ("best.ckpt", "last.ckpt"):
            (folder / file).touch()
            os.utime(folder / file, (index, index))
    old, new = outputs / "day/old", outputs / "day/new"
    assert find("last", tmp_path / "now", False, outputs, prefer_best=False) == new / "checkpoints/last.ckpt"
    assert find("last", old, True, outputs, prefer_best=False) == old / "checkpoints/last.ckpt"
    assert find(str(old), new, False, outputs, prefer_best=True) == old / "checkpoints/best.ckpt"
    assert find(str(old), new, False, outputs, prefer_best=False) == old / "checkpoints/last.ckpt"
    for path, given in (("last", True), (str(tmp_path), False), ("gone.ckpt", False)):
        with pytest.raises(CheckpointError):
            find(path, tmp_path / "now", given, outputs, prefer_best=False)


def test_a_truncated_file_and_a_pickle_with_code_are_refused(tmp_path):
    whole = tmp_path / "whole.ckpt"
    torch.save({"config": {}, "state_dict": {"a": torch.zeros(1000)}}, whole)
    assert read(whole)["config"] == {}
    (tmp_path / "cut.ckpt").write_bytes(whole.read_bytes()[:1500])

    class Trap:
        def __reduce__(self):
            return os.mkdir, (str(tmp_path / "trapped"),)

    torch.save({"config": {}, "trap": Trap()}, tmp_path / "code.ckpt")
    for name in ("cut.ckpt", "code.ckpt"):
        with pytest.raises(CheckpointError, match="no readable checkpoint"):
            read(tmp_path / name)
    assert not (tmp_path / "trapped").exists()
