"""``dataset=huggingface`` from the command line: a table and a stream, what comes out of them, what is mistyped."""

from __future__ import annotations

import csv
import os
import subprocess
import sys

import datasets
import pytest

from tests.conftest import ROOT
from tests.datamodules import fabricate
from tests.datamodules.dataset_hub import COMMIT, NAME, dataset_hub
from tests.small import SMALL

HERE = [*SMALL, "dataset=huggingface", "data.root=fruit", "data.batch_size=4"]
SIZES = "3 classes (apple, pear, plum); 12 training, 6 validation, 6 test images; validated on the test part"


@pytest.fixture(autouse=True)
def fruit(tmp_path, monkeypatch):
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path / "cache")
    monkeypatch.setenv("HF_DATASETS_CACHE", str(tmp_path / "cache"))  # of other processes
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
def test_a_name_on_the_hub(tmp_path):
    """In processes of their own: the library takes the address of the Hub when it is imported."""

    def run(address, *arguments):
        environment = {**os.environ, "HF_ENDPOINT": address, "HF_HOME": str(tmp_path / "home"), "NO_PROXY": "127.0.0.1"}
        command = [sys.executable, str(ROOT / "run.py"), *SMALL, "dataset=huggingface", "data.batch_size=4", *arguments]
        return subprocess.run(command, env=environment, capture_output=True, text=True, cwd=tmp_path, check=False)

    name = f"data.root={NAME}"
    with dataset_hub(tmp_path / "fruit") as address:
        for number, streaming in enumerate(("data.streaming=true", "data.streaming=false")):
            outcome = run(address, name, streaming, "data.num_workers=2", f"hydra.run.dir=run{number}")
            assert outcome.returncode == 0, outcome.stderr
            assert SIZES in outcome.stdout
        unknown = run(address, "data.root=someone/friut")
        assert unknown.returncode == 1
        assert (
            "Dataset 'someone/friut' doesn't exist on the Hub or cannot be accessed; mend data.root" in unknown.stderr
        )
    cached = run(address, name, f"data.revision={COMMIT}", "hydra.run.dir=cached")
    assert cached.returncode == 0, cached.stderr
    assert "the newest copy in the library's cache, not from the Hub; the Hub is out of reach" in cached.stdout
    for arguments, sentence in (
        (["data.revision=main"], f"the copy in the cache is of the revision {COMMIT}, not main"),
        (["data.streaming=true"], "the Hub, where it may be one, is out of reach"),
    ):
        refused = run(address, name, *arguments)
        assert refused.returncode == 1
        assert sentence in refused.stderr
        assert "Traceback" not in refused.stderr


@pytest.mark.slow
@pytest.mark.parametrize("streaming", ["true", "false"])
def test_shards_of_a_table(cli, streaming):
    written = cli("mode=shards", *HERE[-3:], f"data.streaming={streaming}", "shards.folder=shards")
    assert written.code == 0, written.err
    outcome = cli(*SMALL, "dataset=webdataset", "data.urls=shards", "data.batch_size=4")
    assert outcome.code == 0, outcome.err
    assert SIZES in outcome.out
