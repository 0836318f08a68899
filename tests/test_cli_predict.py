"""mode=predict: pictures to predictions.csv, prepared as the training images were."""

from __future__ import annotations

import csv
import os

import numpy as np
import pytest
import torch
from PIL import Image
from sklearn.datasets import load_digits

from datamodules.datasets import create_datamodule
from datamodules.pictures import Pictures, find_pictures, join
from datamodules.preprocessing import Preprocessing
from gcp.errors import DataError
from lightning_modules.classifier import Classifier
from lightning_modules.run.checkpoint_names import PREPROCESSING_KEY
from tests.small import SMALL


@pytest.fixture
def folder(tmp_path):
    """Digits as grey PNG files, in a folder and one below it."""
    pictures = tmp_path / "pictures"
    (pictures / "more").mkdir(parents=True)
    for index, image in enumerate(load_digits().images[:5]):
        file = pictures / ("more" if index == 4 else "") / f"{index}.png"
        Image.fromarray(np.round(image * 255 / 16).astype("uint8")).save(file)
    return pictures


def deny(monkeypatch, place):
    """The folder cannot be read; tests may run as root, whom permissions do not stop."""
    whole = os.scandir

    def scandir(path):
        if str(path).endswith(place):
            raise PermissionError(13, "Permission denied", str(path))
        return whole(path)

    monkeypatch.setattr(os, "scandir", scandir)


def predictions(directory):
    return list(csv.DictReader((directory / "predictions.csv").open()))


@pytest.mark.parametrize("method", ["newton", "average"])
def test_pictures_are_classified_as_the_same_digits_of_the_data_set(cli, tmp_path, summary_of, folder, method):
    assert cli(f"method={method}", *SMALL, "hydra.run.dir=run").code == 0
    outcome = cli("mode=predict", "ckpt_path=run", f"data.path={folder}", "data.batch_size=2", "hydra.run.dir=out")
    assert outcome.code == 0, outcome.err
    rows = predictions(tmp_path / "out")
    assert [row["file"] for row in rows] == [str(file) for file in find_pictures(folder)]
    # The digits as the network saw them in training: enlarged and normalised by the data module.
    data = create_datamodule("digits", image_size=16)
    data.setup()
    mean, std = data.preprocessing.mean[0] * 16, data.preprocessing.std[0] * 16
    grey = torch.from_numpy(load_digits().images[:5]).float()[:, None].expand(-1, 3, -1, -1)
    images = (torch.nn.functional.interpolate(grey, size=(16, 16), mode="bilinear") - mean) / std
    module = Classifier.load_from_checkpoint(tmp_path / "run/checkpoints/best.ckpt", weights_only=True).eval()
    with torch.no_grad():
        best = module(images).softmax(-1).max(-1)
    assert [row["class"] for row in rows] == [str(label) for label in best.indices.tolist()]
    # PNG rounds grey values to 1/255
    np.testing.assert_allclose([float(row["probability"]) for row in rows], best.values, atol=2e-3)
    summary = summary_of(tmp_path / "out")
    assert (summary["mode"], summary["status"], summary["predict/images"]) == ("predict", "ok", 5)


def test_the_training_images_themselves_are_what_preprocessing_makes():
    data = create_datamodule("digits", image_size=24)
    data.setup()
    image, _ = data.splits.train[3]
    raw = load_digits().images
    prepared = [data.preprocessing(torch.from_numpy(each).float().expand(3, -1, -1) / 16) for each in raw[:20]]
    closest = min((each - image).abs().max().item() for each in prepared)
    assert closest < 1e-5
    textures = create_datamodule("textures", image_size=16, train_per_class=2, val_per_class=1, test_per_class=1)
    textures.setup()
    image, _ = textures.splits.train[0]
    shown = image - image.min()
    torch.testing.assert_close(textures.preprocessing(shown / shown.max()), image, rtol=1e-4, atol=1e-4)


def test_what_cannot_be_read_is_named_and_left_out(cli, tmp_path, summary_of, folder):
    (folder / "text.png").write_text("no picture")
    (folder / "cut.png").write_bytes((folder / "0.png").read_bytes()[:60])
    (folder / "notes.txt").write_text("not looked at")
    assert cli(*SMALL, "hydra.run.dir=run").code == 0
    run = ("mode=predict", "ckpt_path=run")
    outcome = cli(*run, f"data.path={folder}", "data.batch_size=2", "hydra.run.dir=out")
    assert outcome.code == 0, outcome.err
    assert len(predictions(tmp_path / "out")) == 5
    for name in ("text.png: not an image", "cut.png: "):
        assert f"left out {folder}/{name}" in outcome.err
    summary = summary_of(tmp_path / "out")
    assert (summary["predict/images"], summary["predict/unreadable"]) == (5, 2)
    assert "notes" not in outcome.err
    outcome = cli(*run, f"data.path={folder / 'cut.png'}")
    assert outcome.code == 1
    assert "none of the 1 files" in outcome.err


def test_the_limit_of_pixels_holds_here_too(cli, tmp_path, summary_of, folder, monkeypatch):
    """For a JPEG, which torchvision reads, and for a PNG, which Pillow does."""
    assert cli(*SMALL, "hydra.run.dir=run").code == 0
    for name in ("large.jpg", "large.png"):
        Image.new("L", (64, 64)).save(folder / name)
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 64 * 64 - 1)
    outcome = cli("mode=predict", "ckpt_path=run", f"data.path={folder}", "hydra.run.dir=out")
    assert outcome.code == 0, outcome.err
    for name in ("large.jpg", "large.png"):
        assert f"{name}: has 64 x 64 pixels, more than the 4,095 that are decoded; make it smaller" in outcome.err
    assert len(predictions(tmp_path / "out")) == 5
    assert summary_of(tmp_path / "out")["predict/unreadable"] == 2


@pytest.mark.parametrize("place", ["pictures", "pictures/more"])
def test_a_folder_that_cannot_be_read(cli, tmp_path, folder, monkeypatch, place):
    assert cli(*SMALL, "hydra.run.dir=run").code == 0
    deny(monkeypatch, place)
    outcome = cli("mode=predict", "ckpt_path=run", "data.path=pictures", "hydra.run.dir=out")
    assert outcome.code == 1
    assert f"error: the folder {place} cannot be read (Permission denied); mend that" in outcome.err
    assert "Traceback" not in outcome.err


def test_one_picture_of_any_kind_and_shape(cli, tmp_path, folder):
    assert cli(*SMALL, "dataset=textures", "hydra.run.dir=run").code == 0
    Image.new("RGBA", (40, 20), (200, 30, 30, 128)).save(tmp_path / "wide.webp")
    outcome = cli("mode=predict", "ckpt_path=run", "data.path=wide.webp", "hydra.run.dir=out")
    assert outcome.code == 0, outcome.err
    (row,) = predictions(tmp_path / "out")
    assert row["file"] == "wide.webp"
    assert row["class"].startswith("colour")
    assert 1 / 8 <= float(row["probability"]) <= 1


def test_a_checkpoint_that_does_not_say_how_its_images_were_prepared(cli, tmp_path, folder):
    assert cli(*SMALL, "hydra.run.dir=run").code == 0
    path = tmp_path / "run/checkpoints/best.ckpt"
    checkpoint = torch.load(path, weights_only=True)
    stored = checkpoint.pop(PREPROCESSING_KEY)
    torch.save(checkpoint, tmp_path / "old.ckpt")
    assert Preprocessing(**stored).class_names == [str(digit) for digit in range(10)]
    for name, file in (("new", path), ("old", "old.ckpt")):
        assert cli("mode=predict", f"ckpt_path={file}", f"data.path={folder}", f"hydra.run.dir={name}").code == 0
    assert predictions(tmp_path / "old") == predictions(tmp_path / "new")


def test_a_progress_bar_is_shown_on_a_terminal_unless_unwanted(cli, tmp_path, folder, monkeypatch):
    assert cli(*SMALL, "hydra.run.dir=run").code == 0
    run = ("mode=predict", "ckpt_path=run", f"data.path={folder}")
    assert "Predicting" not in cli(*run, "callbacks.progress_bar=true").out
    monkeypatch.setenv("TTY_COMPATIBLE", "1")  # rich takes anything for a terminal then
    assert "Predicting" in cli(*run, "callbacks.progress_bar=true").out
    assert "Predicting" not in cli(*run).out


@pytest.mark.parametrize(
    ("path", "message"),
    [
        ("null", "mode=predict needs data.path"),
        ("gone", "data.path=gone is neither an image nor a folder"),
        ("empty", "the folder data.path=empty holds no images"),
    ],
)
def test_no_pictures_is_one_sentence(cli, tmp_path, path, message):
    (tmp_path / "empty").mkdir()
    assert cli(*SMALL, "hydra.run.dir=run").code == 0
    outcome = cli("mode=predict", "ckpt_path=run", f"data.path={path}")
    assert outcome.code == 1
    assert message in outcome.err
    assert "Traceback" not in outcome.err


def test_batches_of_nothing_readable(tmp_path):
    (tmp_path / "a.png").write_text("no picture")
    pictures = Pictures(find_pictures(tmp_path), Preprocessing(16, ["a"], None, None))
    batch = join([pictures[0], pictures[0]])
    assert batch.images.shape == (0, 3, 16, 16)
    assert len(batch.failures) == 2
    with pytest.raises(DataError):
        find_pictures(tmp_path / "none")
