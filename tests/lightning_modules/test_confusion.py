"""Accuracy per class and the confusion matrix, against counting by hand."""

from __future__ import annotations

import csv

import pytorch_lightning as pl
import torch
from PIL import Image

from lightning_modules.callbacks.confusion import Confusion
from lightning_modules.plots.confusion import confusion_figure
from tests.lightning_modules.test_classifier import CLASSES, classifier, loader, trainer
from tests.small import SMALL

NAMES = [f"class {label}" for label in range(CLASSES)]


def rows_of(path):
    return list(csv.DictReader(path.open()))


def test_the_tables_are_what_counting_gives(tmp_path):
    module, data = classifier(), loader(22)
    data.dataset.tensors[1][data.dataset.tensors[1] == 3] = 4  # a class without images
    named = pl.LightningDataModule.from_datasets(test_dataset=data.dataset, batch_size=4)
    named.class_names = NAMES
    confusion = Confusion(tmp_path / "files")
    trainer(tmp_path, callbacks=[confusion]).test(module, named, verbose=False)
    images, labels = data.dataset.tensors
    with torch.no_grad():
        predicted = module.eval()(images).argmax(1)
    expected = torch.zeros(CLASSES, CLASSES, dtype=torch.int64)
    for true, found in zip(labels.tolist(), predicted.tolist(), strict=True):
        expected[true, found] += 1
    assert torch.equal(confusion.matrix, expected)
    table = rows_of(tmp_path / "files" / Confusion.TABLE)
    assert [row["true class"] for row in table] == NAMES
    assert [[int(row[name]) for name in NAMES] for row in table] == expected.tolist()
    per_class = rows_of(tmp_path / "files" / Confusion.PER_CLASS)
    for label, row in enumerate(per_class):
        count = int(expected[label].sum())
        assert (row["class"], int(row["images"])) == (NAMES[label], count)
        assert row["accuracy"] == (f"{expected[label, label].item() / count:.6f}" if count else "")
    assert per_class[3]["accuracy"] == ""
    trainer(tmp_path, callbacks=[confusion]).test(module, named, verbose=False)
    assert torch.equal(confusion.matrix, expected)  # counted anew


def test_the_picture_is_normalised_by_rows_and_readable_with_many_classes(tmp_path):
    few = confusion_figure(torch.tensor([[8, 2, 0], [0, 5, 0], [0, 0, 0]]), ["a", "b", "c"])
    axes = few.axes[0]
    shares = axes.images[0].get_array()
    assert shares[:2].tolist() == [[0.8, 0.2, 0.0], [0.0, 1.0, 0.0]]
    assert shares.mask[2].all() or bool(torch.as_tensor(shares.data[2]).isnan().all())
    assert [text.get_text() for text in axes.texts] == ["80", "20", "100"]
    assert axes.get_title() == "15 images of 3 classes, 86.67% correct"
    many = confusion_figure(torch.eye(200, dtype=torch.int64), [f"bird number {label}" for label in range(200)])
    labels = [text.get_text() for text in many.axes[0].get_yticklabels()]
    assert labels[:2] == ["bird number 0", "bird number 5"]
    assert len(labels) == 40
    many.savefig(tmp_path / "many.png", dpi=50)
    heights = [text.get_window_extent().height for text in many.axes[0].get_yticklabels()]
    spacing = many.axes[0].transData.transform([[0, 0], [0, 5]])
    assert max(heights) <= abs(spacing[1, 1] - spacing[0, 1])  # names do not overlap


def test_on_request_a_run_and_a_test_write_them(cli, tmp_path):
    assert cli(*SMALL, "callbacks.confusion_matrix=true", "hydra.run.dir=run").code == 0
    assert cli("mode=test", "ckpt_path=run", "callbacks.confusion_matrix=true", "hydra.run.dir=test").code == 0
    for name in ("run", "test"):
        rows = rows_of(tmp_path / name / Confusion.PER_CLASS)
        assert len(rows) == 10
        assert sum(int(row["images"]) for row in rows) == 32  # two batches of 16
        with Image.open(tmp_path / name / Confusion.PICTURE) as picture:
            assert min(picture.size) > 500
    assert (tmp_path / "run" / Confusion.TABLE).read_text() == (tmp_path / "test" / Confusion.TABLE).read_text()
    assert not (tmp_path / "test/checkpoints").exists()
    assert cli(*SMALL, "hydra.run.dir=plain").code == 0
    assert not (tmp_path / "plain" / Confusion.PICTURE).exists()
