"""Finding checkpoints and merging configurations."""

from __future__ import annotations

import os

import pytest
import torch

from gcp.errors import CheckpointError
from gcp.options import written
from lightning_modules.run.find_checkpoint import find
from lightning_modules.run.merge_config import merge
from lightning_modules.run.read_checkpoint import read
from lightning_modules.run.restore import _order_differs, restore
from lightning_modules.run.spec import Run

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
    assert find("last", tmp_path / "now", False, [outputs], prefer_best=False) == new / "checkpoints/last.ckpt"
    assert find("last", old, True, [outputs], prefer_best=False) == old / "checkpoints/last.ckpt"
    assert find(str(old), new, False, [outputs], prefer_best=True) == old / "checkpoints/best.ckpt"
    assert find(str(old), new, False, [outputs], prefer_best=False) == old / "checkpoints/last.ckpt"
    for path, given in (("last", True), (str(tmp_path), False), ("gone.ckpt", False)):
        with pytest.raises(CheckpointError):
            find(path, tmp_path / "now", given, [outputs], prefer_best=False)


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


def test_the_one_before_the_last_is_found_where_it_is_alone(tmp_path):
    outputs = tmp_path / "outputs"
    folder = outputs / "day/run/checkpoints"
    folder.mkdir(parents=True)
    (folder / "last.previous.ckpt").touch()
    for path, directory, given in (("last", tmp_path / "now", False), ("last", folder.parent, True)):
        assert find(path, directory, given, [outputs], prefer_best=False) == folder / "last.previous.ckpt"
    (folder / "last.ckpt").touch()
    assert find("last", folder.parent, True, [outputs], prefer_best=False) == folder / "last.ckpt"


def test_of_two_stages_the_one_that_was_stopped_is_found(tmp_path):
    run, first = tmp_path / "run", tmp_path / "run/stage1/checkpoints"
    first.mkdir(parents=True)
    (first / "last.ckpt").touch()
    for path, given in (("last", True), ("last", False), (str(run), False)):
        here = run if given else tmp_path / "x"
        assert find(path, here, given, [tmp_path], prefer_best=False) == first / "last.ckpt"
    second = run / "checkpoints"
    second.mkdir()
    (second / "last.ckpt").touch()
    os.utime(second / "last.ckpt", (0, 0))  # copied about: times say nothing
    for path, given in (("last", True), ("last", False), (str(run), False)):
        assert (
            find(path, run if given else tmp_path / "x", given, [tmp_path], prefer_best=False) == second / "last.ckpt"
        )


def test_one_flipped_bit_anywhere_in_a_checkpoint_is_noticed_or_harmless(tmp_path):
    whole = {"config": {"seed": 1}, "state_dict": {"a": torch.arange(300.0), "b": torch.zeros(3)}, "global_step": 3}
    torch.save(whole, tmp_path / "whole.ckpt")
    data = (tmp_path / "whole.ckpt").read_bytes()
    noticed = 0
    for position in range(0, len(data), 7):
        damaged = bytearray(data)
        damaged[position] ^= 1 << position % 8
        path = tmp_path / "damaged.ckpt"
        path.unlink(missing_ok=True)  # the one before may still be mapped
        path.write_bytes(damaged)
        try:
            found = read(path)
        except CheckpointError:
            noticed += 1
            continue
        assert found["config"] == whole["config"]
        assert found["global_step"] == whole["global_step"]
        for name, value in whole["state_dict"].items():
            assert torch.equal(found["state_dict"][name], value)
    assert noticed > 1200 // 7  # of the weights alone


def checkpoint(path, **contents):
    path.parent.mkdir(parents=True, exist_ok=True)
    config = {**STORED, "threads": 3, "backbone": {"name": "resnet18"}, "callbacks": {"monitor": "val/acc1"}}
    config["data"] = {"name": "digits", "batch_size": 32, "seed": 0, "num_workers": 0}
    torch.save({"config": config, "state_dict": {}, "global_step": 3, **contents}, path)
    return config


def going_on(run, explicit, **changes):
    config = {**checkpoint(run / "checkpoints/last.ckpt"), "mode": "fit", "threads": None}
    config.update(dict.fromkeys(("export", "sweep", "analysis", "path")), **changes)
    config.update(ckpt_path="last", ckpt_triangle="upper", ckpt_classifier="load")
    return restore(Run(run, config), explicit, directory_given=True)


def test_threads_travel_with_the_training_alone(tmp_path):
    assert going_on(tmp_path, []).config["threads"] == 3
    assert going_on(tmp_path, ["threads"], threads=2).config["threads"] == 2
    assert going_on(tmp_path, [], mode="test").config["threads"] is None


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("data.batch_size", 16),
        ("data.seed", 1),
        ("data.image_size", 48),
        ("trainer.gradient_clip_val", 1.0),
        ("trainer.accumulate_grad_batches", 2),
        ("callbacks.monitor", "val/loss"),
    ],
)
def test_changes_the_weights_depend_on_are_named(tmp_path, capsys, name, value):
    section, key = name.split(".")
    stored = checkpoint(tmp_path / "checkpoints/last.ckpt")
    run = going_on(tmp_path, [name], **{section: {**stored[section], key: value}})
    assert run.config[section][key] == value
    said = capsys.readouterr().err
    assert f"{name}={written(value)} (checkpoint: {written(stored[section].get(key))})" in said
    assert "the weights will differ" in said


def test_changes_that_change_nothing_are_not(tmp_path, capsys):
    stored = checkpoint(tmp_path / "checkpoints/last.ckpt")
    going_on(
        tmp_path,
        ["data.num_workers", "trainer.max_epochs"],
        data={**stored["data"], "num_workers": 4},
        trainer={"max_epochs": 9},
    )
    assert capsys.readouterr().err == ""


def test_the_first_of_two_stages_is_resumed_as_the_whole_run(tmp_path):
    config = checkpoint(tmp_path / "run/stage1/checkpoints/last.ckpt")
    whole = {**config, "second_stage": {"epochs": 2}}
    checkpoint(tmp_path / "run/stage1/checkpoints/last.ckpt", stages={"config": whole, "stage": 1})
    asked = {**config, "mode": "fit", "ckpt_triangle": "upper", "ckpt_classifier": "load", "ckpt_path": "last"}
    asked.update(dict.fromkeys(("export", "sweep", "analysis", "path")))
    run = restore(Run(tmp_path / "run", asked), [], directory_given=True)
    assert (run.checkpoint_stage, run.config["second_stage"]) == (1, {"epochs": 2})
    with pytest.raises(CheckpointError, match=f"hydra.run.dir={tmp_path}/run$"):
        restore(Run(tmp_path / "run/stage1", asked), [], directory_given=True)


@pytest.mark.parametrize(
    ("name", "more", "differs"),
    [
        ("webdataset", {}, True),
        ("huggingface", {"streaming": True}, True),
        ("huggingface", {"streaming": False}, False),
    ],
)
def test_streams_are_ordered_by_the_processes_that_load_them(name, more, differs):
    def loaded_by(processes):
        return {"data": {"name": name, "num_workers": processes, **more}}

    assert _order_differs(loaded_by(3), loaded_by(2)) is differs
    assert not _order_differs(loaded_by(1), loaded_by(0))
    assert not _order_differs({"data": {"name": "digits", "num_workers": 3}}, {"data": {"num_workers": 0}})
