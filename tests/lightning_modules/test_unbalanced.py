"""Data with more images of some classes: metrics against scikit-learn, weights that are kept, labels of no class."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch
from sklearn.metrics import balanced_accuracy_score, f1_score
from torch.utils.data import Dataset, TensorDataset

from datamodules.checks import check_batch_labels
from datamodules.datasets import DatasetInfo, register_dataset
from datamodules.digits import DigitsDataModule
from datamodules.options import DigitsOptions
from datamodules.splits import Splits
from gcp.errors import DataError, PluginError
from lightning_modules import metric_names as names
from lightning_modules.metrics import accuracies
from tests.small import SMALL


def test_metrics_are_those_of_scikit_learn():
    generator = np.random.default_rng(0)
    labels = generator.choice(4, 200, p=[0.7, 0.2, 0.1, 0.0])  # the last class does not occur, but is predicted
    logits = torch.from_numpy(generator.normal(size=(200, 4))) + 2 * torch.nn.functional.one_hot(
        torch.from_numpy(labels), 4
    )
    metrics = accuracies(4, balanced=True)
    for part in torch.arange(200).split(64):
        metrics.update(logits[part], torch.from_numpy(labels)[part])
    seen, predicted = metrics.compute(), logits.argmax(1).numpy()
    assert 3 in predicted
    with pytest.warns(UserWarning, match="y_pred contains classes not in y_true"):
        expected = balanced_accuracy_score(labels, predicted)
    assert seen[names.BALANCED_ACCURACY].item() == pytest.approx(expected, abs=1e-6)  # float32
    assert seen[names.MACRO_F1].item() == pytest.approx(f1_score(labels, predicted, average="macro"), abs=1e-6)
    by_class = metrics[names.BALANCED_ACCURACY].by_class
    assert by_class[:3].tolist() == pytest.approx([(predicted[labels == k] == k).mean() for k in range(3)])
    assert by_class[3].isnan()
    assert set(accuracies(4, balanced=False)) == {names.ACCURACY, names.ACCURACY_5}


class FewNines(DigitsDataModule):
    """Digits, most of whose nines are not there to train on."""

    def make_splits(self) -> Splits:
        splits = super().make_splits()
        images, labels = splits.train.tensors
        kept = (labels != 9) | (torch.arange(len(labels)) % 4 == 0)
        return splits._replace(train=TensorDataset(images[kept], labels[kept]))


def registered(module, classes=10):
    register_dataset(DatasetInfo("mine", DigitsOptions, module, classes, "digits of another kind"))


def test_unbalanced_data_bring_their_metrics_and_weights(cli, tmp_path, summary_of):
    registered(FewNines)
    outcome = cli(*SMALL, "dataset=mine", "training.class_weights=balanced", "training.mixup=0.2", "hydra.run.dir=run")
    assert outcome.code == 0, outcome.err
    assert "overridden" not in outcome.err  # Lightning tells of hooks that module and data both have
    summary = summary_of(tmp_path / "run")
    for stage in ("test", "test_final"):
        assert 0 <= summary[names.of(stage, names.BALANCED_ACCURACY)] <= 1
        assert 0 <= summary[names.of(stage, names.MACRO_F1)] <= 1
    assert set(summary[names.of("test", names.CLASS_ACCURACY)]) == set("0123456789")
    assert 0 <= summary[names.of("val", names.BALANCED_ACCURACY)] <= 1
    checkpoint = torch.load(tmp_path / "run/checkpoints/last.ckpt", weights_only=True)
    weights = checkpoint["hyper_parameters"]["class_weights"]
    assert weights == summary["class_weights"]
    assert weights[9] > 3 * max(weights[:9])
    assert (tmp_path / "run/metrics.csv").read_text().count(names.of("val", names.MACRO_F1)) == 1
    tested = cli("mode=test", "ckpt_path=run", "hydra.run.dir=again", "callbacks.progress_bar=false")
    assert tested.code == 0, tested.err
    again = summary_of(tmp_path / "again")
    assert again[names.of("test", names.MACRO_F1)] == summary[names.of("test", names.MACRO_F1)]
    assert cli("mode=report", "path=run", "hydra.run.dir=report").code == 0
    (table,) = tmp_path.rglob("report/**/*.md")
    assert "| balanced acc | macro F1 |" in table.read_text()


@pytest.mark.slow
def test_balanced_data_have_them_when_asked(cli, tmp_path, summary_of):
    assert cli(*SMALL, "hydra.run.dir=plain").code == 0
    plain = summary_of(tmp_path / "plain")
    assert not [name for name in plain if names.BALANCED_ACCURACY in name or names.CLASS_ACCURACY in name]
    monitor = f"callbacks.monitor={names.of('val', names.BALANCED_ACCURACY)}"
    assert cli(*SMALL, monitor, "hydra.run.dir=asked").code == 0
    asked = json.loads((tmp_path / "asked/summary.json").read_text())
    assert names.of("test", names.BALANCED_ACCURACY) in asked
    refused = cli(*SMALL, monitor, "training.balanced_metrics=false")
    assert refused.code == 1
    assert "is not computed with training.balanced_metrics=false" in refused.err


class Misnumbered(DigitsDataModule):
    """Labels from 1 to 10, in memory."""

    def make_splits(self) -> Splits:
        return Splits(*(TensorDataset(part.tensors[0], part.tensors[1] + 1) for part in super().make_splits()))


class Hidden(Dataset):
    """What nobody can look into before it is read."""

    def __init__(self, part):
        self.part = part

    def __len__(self):
        return len(self.part)

    def __getitem__(self, position):
        image, label = self.part[position]
        return image, label - 100 * (label == 7)  # torch's loss passes over -100 in silence


class Unseen(DigitsDataModule):
    def make_splits(self) -> Splits:
        return Splits(*map(Hidden, super().make_splits()))


class Half(DigitsDataModule):
    num_classes = 5


def test_labels_in_memory_that_name_no_class():
    with pytest.raises(DataError, match="train part of Misnumbered holds the label 10, and its 10 classes have 0 to 9"):
        Misnumbered(DigitsOptions(image_size=8)).setup()
    with pytest.raises(PluginError, match="Half has 5 classes and 10 class_names; mend it"):
        Half(DigitsOptions(image_size=8)).setup()


@pytest.mark.parametrize(
    ("module", "classes", "message"),
    [
        (Unseen, 10, "the data hold the label -93, and the 10 classes have 0 to 9; mend the labels or the class names"),
        pytest.param(
            *(DigitsDataModule, 7, "'mine' is registered with num_classes=7, and DigitsDataModule has 10 classes"),
            marks=pytest.mark.slow,
        ),
    ],
)
def test_a_dataset_of_ones_own_with_wrong_labels(cli, module, classes, message):
    registered(module, classes)
    outcome = cli(*SMALL, "dataset=mine")
    assert outcome.code == 1
    assert message in outcome.err
    assert "Traceback" not in outcome.err


@pytest.mark.parametrize(
    ("labels", "message"),
    [
        (torch.tensor([0.0, 1.0]), r"whole numbers \(B,\), the data have torch.float32 \(2,\)"),
        (torch.zeros(2, 1, dtype=torch.int64), r"the data have torch.int64 \(2, 1\)"),
        ([0, 1], "the data have list"),
    ],
)
def test_labels_that_are_none(labels, message):
    with pytest.raises(DataError, match=message):
        check_batch_labels(labels, 3)


def test_a_dataset_says_its_labels_or_does_not():
    module = DigitsDataModule(DigitsOptions(image_size=8))
    module.setup()
    assert module.class_counts.sum() == len(module.splits.train)
    hidden = Unseen(DigitsOptions(image_size=8))
    hidden.setup()
    assert hidden.class_counts is None
