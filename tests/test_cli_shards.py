"""mode=shards and dataset=webdataset from the command line: written, trained on, tested, refused in a sentence."""

from __future__ import annotations

import csv
from itertools import chain

import pytest

from datamodules.datasets import create_datamodule
from lightning_modules import metric_names as names
from tests.datamodules import fabricate
from tests.datamodules.test_streams import OneOf
from tests.small import SMALL

QUICK = ("callbacks.progress_bar=false", "report.formats=[]", "trainer.accelerator=cpu")
WRITE = ("mode=shards", "shards.folder=shards", "data.image_size=16", "shards.images=300", *QUICK)
STREAM = ("dataset=webdataset", "data.urls=shards")


@pytest.fixture
def digits(cli):
    """Shards of the digits of 16 x 16."""
    outcome = cli(*WRITE, "hydra.run.dir=writing")
    assert outcome.code == 0, outcome.err
    return outcome


def test_write_and_train(cli, digits, tmp_path, summary_of):
    assert "train on them         python run.py dataset=webdataset data.urls=shards" in digits.out
    assert "finished images" in digits.out
    written = summary_of(tmp_path / "writing")
    assert (written["status"], written["shards/train"], written["shards/test"]) == ("ok", 1078, 359)
    outcome = cli(*SMALL, *STREAM, "training.class_weights=balanced", "hydra.run.dir=run")
    assert outcome.code == 0, outcome.err
    assert "1,078 training, 360 validation, 359 test images; 4 training shards" in outcome.out
    assert len(summary_of(tmp_path / "run")["class_weights"]) == 10


@pytest.mark.slow
def test_test_and_predict(cli, digits, tmp_path, summary_of):
    assert cli(*SMALL, *STREAM, "hydra.run.dir=run").code == 0
    test = ("mode=test", "ckpt_path=run", *QUICK)
    outcome = cli(*test, "hydra.run.dir=tested")
    assert outcome.code == 1
    assert "the run had them in data.urls=shards, but a checkpoint's places are not followed" in outcome.err
    outcome = cli(*test, "data.urls=shards", "hydra.run.dir=tested")
    assert outcome.code == 0, outcome.err
    assert summary_of(tmp_path / "tested")["test/acc1"] == summary_of(tmp_path / "run")["test/acc1"]
    (tmp_path / "pictures").mkdir()
    fabricate.picture(tmp_path / "pictures/one.jpg", 1)
    outcome = cli("mode=predict", "ckpt_path=run", "data.path=pictures", "hydra.run.dir=predicted")
    assert outcome.code == 0, outcome.err
    with (tmp_path / "predicted/predictions.csv").open() as file:
        assert len(list(csv.DictReader(file))) == 1


def test_what_cannot_be_is_refused_and_leaves_nothing(cli, tmp_path):
    for arguments, message in (
        (("mode=shards",), "mode=shards needs shards.folder"),
        (("mode=shards", "shards.folder=x", "ckpt_path=last"), "leave out ckpt_path"),
        (("mode=shards", "shards.folder=x", "shards.index_only=true"), "dataset=webdataset, got dataset=digits"),
        (("mode=shards", "shards.folder=."), "shards.folder=. is there already"),
        (("dataset=webdataset",), "dataset=webdataset needs its shards: set data.urls"),
        (("dataset=webdataset", "data.urls=train-{0..3}.tar"), "4 of 4 shards of data.urls are not there"),
        (("dataset=webdataset", "data.urls=pipe:cat x"), "commands of the shell are not run"),
        (("dataset=webdataset", "data.root=x"), "unknown option data.root"),
        (("dataset=webdataset", "data.damaged=skip"), "unknown option data.damaged"),
        (("dataset=webdataset", "data.holdout=0.2"), "unknown option data.holdout"),
    ):
        (tmp_path / "something").touch()
        outcome = cli(*arguments, *QUICK)
        assert outcome.code == 1, arguments
        assert message in outcome.err
        assert "Traceback" not in outcome.err
    assert [path.name for path in tmp_path.iterdir()] == ["something"]


def test_webdataset_is_an_extra(cli, monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "webdataset", None)
    monkeypatch.setitem(__import__("sys").modules, "webdataset.writer", None)
    outcome = cli(*WRITE)
    assert outcome.code == 1
    assert "shards need webdataset; install it: pip install '.[webdataset]'" in outcome.err


@pytest.mark.slow
def test_the_same_command_again_after_it_was_stopped(cli, tmp_path, summary_of):
    (tmp_path / "writing").mkdir()
    (tmp_path / "writing/summary.json").write_text('{"mode": "shards", "status": "interrupted"}')
    assert cli(*WRITE, "hydra.run.dir=writing").code == 0
    assert summary_of(tmp_path / "writing")["status"] == "ok"
    assert "holds a run" in cli(*WRITE, "shards.folder=other", "hydra.run.dir=writing").err


@pytest.mark.slow
def test_going_on_with_other_processes(cli, digits, tmp_path):
    stop = ("callbacks.checkpoint_every_n_steps=3", "trainer.limit_train_batches=5", "trainer.max_epochs=1")
    long = [argument for argument in SMALL if "max_epochs" not in argument and "limit_train" not in argument]
    assert cli(*long, *stop, *STREAM, "data.num_workers=2", "hydra.run.dir=run").code == 0
    inside = next((tmp_path / "run/checkpoints").glob("*step*3*"), None)
    outcome = cli("ckpt_path=run", "data.num_workers=3", "trainer.max_epochs=2", "hydra.run.dir=run")
    assert outcome.code == 0, outcome.err  # the next epoch may be divided otherwise
    assert "going on with other options than so far: data.num_workers=3 (checkpoint: 2)" in outcome.err
    assert inside is None or inside.exists()


@pytest.mark.slow
@pytest.mark.parametrize("name", ["cub", "folder"])
def test_pictures_are_trained_on_as_in_their_own_dataset(cli, tmp_path, summary_of, name):
    fabricate.FABRICATED[name](tmp_path / "data")
    options = ("data.root=data", "data.check=off", *QUICK)
    outcome = cli("mode=shards", f"dataset={name}", "shards.folder=shards", "hydra.run.dir=writing", *options)
    assert outcome.code == 0, outcome.err
    transform = {"cub": "cub448", "folder": "imagenet224"}[name]
    assert f"data.transform={transform} is for when they are read" in outcome.out
    assert cli(*SMALL, f"dataset={name}", *options, "data.batch_size=4", "hydra.run.dir=files").code == 0
    outcome = cli("mode=test", "ckpt_path=files", *STREAM, "hydra.run.dir=streamed", *QUICK)
    assert outcome.code == 1
    assert "data.name=webdataset" in outcome.err
    assert cli(*SMALL, *STREAM, "data.batch_size=4", "hydra.run.dir=streamed").code == 0
    one, other = (summary_of(tmp_path / each) for each in ("files", "streamed"))
    assert one["params"] == other["params"]


@pytest.mark.slow
def test_damaged_images_are_found_before_they_are_written(cli, tmp_path, summary_of):
    fabricate.folder(tmp_path / "data")
    (tmp_path / "data/train/pear/pear_1.JPEG").write_bytes(b"nothing")
    write = ("mode=shards", "dataset=folder", "data.root=data", "shards.folder=shards", "data.check=off", *QUICK)
    outcome = cli(*write)
    assert outcome.code == 1
    assert "1 of 12 training images cannot be read" in outcome.err
    assert not (tmp_path / "shards").exists()
    outcome = cli(*write, "data.damaged=skip", "hydra.run.dir=writing")
    assert outcome.code == 0, outcome.err
    assert "left out" in outcome.err
    assert summary_of(tmp_path / "writing")["shards/train"] == 11


@pytest.mark.slow
def test_an_index_of_shards_that_are_there(cli, digits, tmp_path):
    for index in (tmp_path / "shards").glob("*.json"):
        index.unlink()
    only = ("mode=shards", *STREAM, "shards.index_only=true", "shards.folder=index", "hydra.run.dir=indexing")
    outcome = cli(*only, *QUICK)  # images that are finished need the index that says so
    assert outcome.code == 1
    assert "has no image" in outcome.err
    fabricate.folder(tmp_path / "data")
    write = ("mode=shards", "dataset=folder", "data.root=data", "shards.folder=fruit", "data.check=off", *QUICK)
    assert cli(*write).code == 0
    for index in (tmp_path / "fruit").glob("*.json"):
        index.unlink()
    outcome = cli("mode=shards", "dataset=webdataset", "data.urls=fruit", *only[3:], *QUICK)
    assert outcome.code == 0, outcome.err
    data = create_datamodule("webdataset", urls=str(tmp_path / "index"), image_size=16)
    data.setup()
    assert (len(data.splits.train), len(data.splits.test)) == (12, 6)


@pytest.mark.slow
@pytest.mark.parametrize("processes", [("data.num_workers=1",), ("trainer=ddp_cpu", "data.num_workers=3")])
def test_digits_are_learnt_from_shards(cli, tmp_path, summary_of, processes):
    assert cli("mode=shards", "shards.folder=shards", "shards.images=100", *QUICK).code == 0
    outcome = cli(*STREAM, *processes, "callbacks.progress_bar=false", "hydra.run.dir=run")
    assert outcome.code == 0, outcome.err
    assert summary_of(tmp_path / "run")["test/acc1"] >= 0.97


@pytest.mark.slow
def test_features_of_finished_images_are_computed_once(cli, tmp_path, summary_of):
    assert cli("mode=shards", "shards.folder=shards", "data.image_size=64", *QUICK).code == 0
    options = ("backbone=resnet18", "backbone.frozen=4", "method.reduced_channels=8", "training.features_once=true")
    small = [argument for argument in SMALL if "width" not in argument and "image_size" not in argument]
    outcome = cli(*small, *STREAM, *options, "data.num_workers=2", "hydra.run.dir=run")
    assert outcome.code == 0, outcome.err
    assert summary_of(tmp_path / "run")[names.FEATURES_SECONDS] > 0


@pytest.mark.slow
def test_six_real_processes_give_every_image_once(cli, digits, tmp_path):
    for epoch in range(2):
        seen = []
        for rank in range(2):
            data = create_datamodule("webdataset", urls=str(tmp_path / "shards"), batch_size=16, num_workers=3)
            data.trainer = OneOf(rank, 2)
            data.setup()
            loader = data.train_dataloader()
            loader.sampler.set_epoch(epoch)
            given = [images for images, _ in loader]
            assert len(given) == len(loader)
            seen.append([image.numpy().tobytes() for batch in given for image in batch])
        everything = list(chain(*seen))
        train = data.splits.train
        stored = [train[position][0].numpy().tobytes() for position in range(len(train))]
        assert len(everything) == 1056
        assert len(set(everything)) >= len(set(stored)) - (1078 - 1056)  # some digits are there twice
