"""A checkpoint of an earlier version: one epoch of three batches, width 4, written before files and packages moved."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest
import torch

from lightning_modules.run import read_checkpoint, restore
from lightning_modules.run.find_checkpoint import find

EARLIER = Path(__file__).parent / "reference/run_of_release_0.ckpt"
HERE = ["callbacks.progress_bar=false", "hydra.run.dir=run"]


def test_it_is_tested_and_trained_on_and_read_once_by_each_command(cli, tmp_path, summary_of, monkeypatch):
    (tmp_path / "earlier/checkpoints").mkdir(parents=True)
    shutil.copy(EARLIER, tmp_path / "earlier/checkpoints/last.ckpt")
    read = []

    def counted(path, *args, **options):
        read.append(Path(path).parent.parent.name)
        return load(path, *args, **options)

    load = torch.load
    monkeypatch.setattr(torch, "load", counted)
    outcome = cli("mode=test", "ckpt_path=earlier", "callbacks.progress_bar=false", "hydra.run.dir=tested")
    assert outcome.code == 0, outcome.err
    assert read == ["earlier"]
    tested = summary_of(tmp_path / "tested")

    read_checkpoint.forget()
    read.clear()
    outcome = cli("ckpt_path=earlier", "trainer.max_epochs=2", *HERE)
    assert outcome.code == 0, outcome.err
    summary = summary_of(tmp_path / "run")
    assert (summary["epochs"], summary["method"], summary["params"]) == (2, "pade", tested["params"])
    # What it goes on from once, the best of its own once: its epoch and its weights are of one reading.
    assert read.count("earlier") == 1
    assert read.count("run") <= 1


def test_what_a_reader_takes_is_its_own(tmp_path):
    path = tmp_path / "last.ckpt"
    shutil.copy(EARLIER, path)
    first = read_checkpoint.read(path)
    assert read_checkpoint.read(path) is first
    taken = read_checkpoint.take(path)
    name, tensor = next(iter(taken["state_dict"].items()))
    before = first["state_dict"][name].clone()
    tensor.add_(1)
    assert torch.equal(read_checkpoint.read(path)["state_dict"][name], before)


def test_a_file_that_was_written_to_is_read_again(tmp_path):
    path = tmp_path / "last.ckpt"
    shutil.copy(EARLIER, path)
    epoch = read_checkpoint.read(path)["epoch"]
    torch.save({**read_checkpoint.take(path), "epoch": epoch + 7}, path)
    assert read_checkpoint.read(path)["epoch"] == epoch + 7


@pytest.mark.parametrize("newest", ["outputs/day/time", "multirun/day/time/0-pade-tiny-digits-s0"])
def test_last_is_the_newest_of_runs_and_of_jobs_of_sweeps(tmp_path, monkeypatch, newest):
    monkeypatch.chdir(tmp_path)
    for age, run in enumerate([newest, "outputs/day/earlier", "multirun/day/earlier/0-pade-tiny-digits-s0"]):
        file = Path(run, "checkpoints/last.ckpt")
        file.parent.mkdir(parents=True)
        file.touch()
        os.utime(file, (1000 - age, 1000 - age))
    found = find("last", Path("now"), False, restore.ROOTS, prefer_best=False)
    assert found == Path(newest, "checkpoints/last.ckpt")
