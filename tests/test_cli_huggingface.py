"""``dataset=huggingface`` from the command line: a table and a stream, what comes out of them, what is mistyped."""

from __future__ import annotations

import csv

import datasets
import pytest

from tests.datamodules import fabricate
from tests.small import SMALL

HERE = [*SMALL, "dataset=huggingface", "data.root=fruit", "data.batch_size=4"]
SIZES = "3 classes (apple, pear, plum); 12 training, 6 validation, 6 test images; validated on the test part"


@pytest.fixture(autouse=True)
def fruit(tmp_path, monkeypatch):
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path / "cache")
    fabricate.table(tmp_path / "fruit")


def test_trained_on_a_table_tested_on_the_stream(cli, tmp_path, summary_of):
    outcome = cli(*HERE, "data.holdout=0.25", "hydra.run.dir=run")
    assert outcome.code == 0, outcome.err
    assert "3 classes (apple, pear, plum); 9 training, 3 validation, 6 test images" in outcome.out
    options = ["data.streaming=true", "data.holdout=0", "callbacks.progress_bar=false", "hydra.run.dir=tested"]
    again = cli("mode=test", "ckpt_path=run/checkpoints/last.ckpt", "data.root=fruit", *options)
    assert again.code == 0, again.err
    before, after = summary_of(tmp_path / "run"), summary_of(tmp_path / "tested")
    assert before["test_final/loss"] == pytest.approx(after["test/loss"], rel=1e-6)  # rounded in other batches


def test_trained_on_a_stream_and_used(cli, tmp_path, summary_of):
    outcome = cli(*HERE, "data.streaming=true", "hydra.run.dir=run")
    assert outcome.code == 0, outcome.err
    assert SIZES in outcome.out
    fabricate.picture(tmp_path / "pictures/1.jpg", 1)
    predicted = cli("mode=predict", "ckpt_path=run", "data.path=pictures", "hydra.run.dir=predicted")
    assert predicted.code == 0, predicted.err
    with (tmp_path / "predicted/predictions.csv").open() as file:
        assert {row["class"] for row in csv.DictReader(file)} <= {"apple", "pear", "plum"}


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (
            ["data.root=friut"],
            "data.root=friut is no folder (did you mean 'fruit'?), and a dataset on the Hub is called",
        ),
        (["data.label_column=lable"], "no column of fruit (did you mean 'label'?); it has image (Image), label (Class"),
        (["data.streaming=yes", "data.damaged=skip"], "data.damaged=skip needs all images ahead, and streaming"),
    ],
)
def test_one_sentence(cli, arguments, sentence):
    outcome = cli(*HERE, *arguments)
    assert outcome.code == 1
    assert sentence in outcome.err
    assert "Traceback" not in outcome.err


@pytest.mark.slow
@pytest.mark.parametrize("streaming", ["true", "false"])
def test_two_processes_that_load_with_two_each(cli, tmp_path, summary_of, streaming):
    options = ["trainer=ddp_cpu", "data.num_workers=2", f"data.streaming={streaming}", "data.batch_size=2"]
    outcome = cli(*HERE, *options, "hydra.run.dir=run")
    assert outcome.code == 0, outcome.err
    assert summary_of(tmp_path / "run")["status"] == "ok"


@pytest.mark.slow
@pytest.mark.parametrize("streaming", ["true", "false"])
def test_shards_of_a_table(cli, streaming):
    written = cli("mode=shards", *HERE[-3:], f"data.streaming={streaming}", "shards.folder=shards")
    assert written.code == 0, written.err
    outcome = cli(*SMALL, "dataset=webdataset", "data.urls=shards", "data.batch_size=4")
    assert outcome.code == 0, outcome.err
    assert SIZES in outcome.out
