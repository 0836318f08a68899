"""Datasets of files from the command line: a run on a small copy, and the sentences when something is wrong."""

from __future__ import annotations

import csv

import pytest
import torch

from datamodules.datasets import create_datamodule
from lightning_modules.classifier import Classifier
from tests.datamodules import fabricate
from tests.small import SMALL

HERE = [*SMALL, "hydra.run.dir=run", "data.batch_size=4", "data.check=off"]


@pytest.mark.parametrize("protocol", ["flip", "ten_crop"])
def test_train_test_and_predict(cli, tmp_path, summary_of, protocol):
    fabricate.cub(tmp_path / "birds")
    options = ["dataset=cub", "data.root=birds", f"data.protocol={protocol}", "data.holdout=0.25"]
    outcome = cli(*options, *HERE)
    assert outcome.code == 0, outcome.err
    assert 0 <= summary_of(tmp_path / "run")["test/acc1"] <= 1
    test = ["mode=test", "ckpt_path=run", "dataset=cub", "data.root=birds", "data.protocol=center"]
    again = cli(*test, "callbacks.progress_bar=false")
    assert again.code == 0, again.err
    outcome = cli("mode=predict", "ckpt_path=run", "data.path=birds/images", "hydra.run.dir=predicted")
    assert outcome.code == 0, outcome.err
    with (tmp_path / "predicted/predictions.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == 18
    assert {row["class"] for row in rows} <= {"Black footed Albatross", "Laysan Albatross", "Sooty Albatross"}


@pytest.mark.parametrize("protocol", ["flip", "ten_crop", "multi_scale"])
def test_views_are_averaged_like_an_explicit_loop(tmp_path, protocol):
    fabricate.cub(tmp_path)
    data = create_datamodule("cub", root=str(tmp_path), check=False, protocol=protocol, image_size=16, batch_size=4)
    data.setup()
    images, _ = next(iter(data.test_dataloader()))
    torch.manual_seed(0)
    module = Classifier(
        {"name": "tiny", "width": 8}, {"name": "pade", "precision": "float64"}, 3, {"name": "sgd"}, {"name": "step"}
    )
    module = module.double().eval()
    with torch.no_grad():
        together = module._logits(images.double())
        one_by_one = torch.stack(
            [torch.stack([module(view[None].double())[0] for view in views]).mean(0) for views in images]
        )
    # float64 throughout: a batched convolution sums in another order
    torch.testing.assert_close(together, one_by_one, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["data.root=nowhere"], "no dataset in data.root=nowhere: expected images, images.txt"),
        ([], "set data.root to their folder"),
        (["data.protocol=flips"], "data.protocol must be one of center, flip, ten_crop, multi_scale, got 'flips'"),
        (["data.transform=cub44"], "data.transform must be one of"),
        (["data.holdout=1.5"], "data.holdout must be at most 0.9"),
    ],
)
def test_one_sentence(cli, arguments, sentence):
    outcome = cli("dataset=cub", *arguments)
    assert outcome.code == 1
    assert sentence in outcome.err
    assert "Traceback" not in outcome.err


@pytest.mark.parametrize("workers", [0, 1])
def test_a_damaged_image_ends_training_with_its_name(cli, tmp_path, summary_of, workers):
    fabricate.cub(tmp_path / "birds")
    split = dict(line.split() for line in (tmp_path / "birds/train_test_split.txt").read_text().splitlines())
    for line in (tmp_path / "birds/images.txt").read_text().splitlines():
        number, file = line.split()
        if split[number] == "1":  # those of validation and test are read before training
            image = tmp_path / "birds/images" / file
            image.write_bytes(image.read_bytes()[:200])
    outcome = cli("dataset=cub", "data.root=birds", f"data.num_workers={workers}", *HERE)
    assert outcome.code == 1
    assert outcome.err.count("error:") == 1
    assert "Traceback" not in outcome.err + outcome.out
    assert len(summary_of(tmp_path / "run")["error"].splitlines()) == 1
    assert "birds/images" in outcome.err
    assert "restore it from the archive" in outcome.err
    assert summary_of(tmp_path / "run")["status"] == "failed"


def test_a_damaged_validation_image_is_found_before_the_first_epoch(cli, tmp_path, summary_of):
    fabricate.cub(tmp_path / "birds")
    tested = _cut(tmp_path / "birds", train="0")
    outcome = cli("dataset=cub", "data.root=birds", *HERE)
    assert outcome.code == 1
    assert f"1 of 6 validation images cannot be read: birds/images/{tested}" in outcome.err
    assert "data.damaged=skip" in outcome.err
    assert not (tmp_path / "run/metrics.csv").exists() or not (tmp_path / "run/metrics.csv").read_text()


def test_damaged_images_are_left_out_if_one_asks_for_it(cli, tmp_path, summary_of):
    fabricate.cub(tmp_path / "birds")
    files = [_cut(tmp_path / "birds", train=train) for train in "10"]
    outcome = cli("dataset=cub", "data.root=birds", "data.damaged=skip", "data.num_workers=1", *HERE)
    assert outcome.code == 0, outcome.err
    for file in files:
        assert outcome.err.count(f"left out birds/images/{file}: ") == 1
    assert "11 training, 5 validation, 5 test images; validated on the test part" in " ".join(outcome.out.split())
    again = cli(
        "mode=test",
        "ckpt_path=run",
        "dataset=cub",
        "data.root=birds",
        "callbacks.progress_bar=false",
        "hydra.run.dir=again",
    )
    assert again.code == 0, again.err
    assert f"left out birds/images/{files[1]}" in again.err
    assert summary_of(tmp_path / "again")["test/acc1"] == summary_of(tmp_path / "run")["test/acc1"]


def test_classes_and_sizes_are_printed_before_training(cli):
    outcome = cli(*SMALL)
    assert "digits: 10 classes (0, 1, 2, 3, 4, 5, 6, 7, 8, 9); 1,078 training, 360 validation, 359 test" in outcome.out


def _cut(root, train):
    """Cut the first image of one part of CUB short; its name in images/."""
    lines = (root / "train_test_split.txt").read_text().splitlines()
    number = next(line.split()[0] for line in lines if line.split()[1] == train)
    files = dict(line.split() for line in (root / "images.txt").read_text().splitlines())
    image = root / "images" / files[number]
    image.write_bytes(image.read_bytes()[:200])
    return files[number]
