"""Solar cells: one division for every target, from the installed package or a folder."""

from __future__ import annotations

import sys
from collections import Counter

import numpy as np
import pytest

from datamodules.datasets import create_datamodule
from datamodules.sets import elpv
from gcp.errors import DataError, OptionError
from tests.datamodules import fabricate


@pytest.fixture
def cells(tmp_path, monkeypatch):
    """Makes the data module of ten cells of each level and kind."""
    fabricate.elpv(tmp_path / "cells", each=10)
    monkeypatch.setattr(elpv, "COUNTS", (10,) * 8)

    def make(**options):
        module = create_datamodule("elpv", root=str(tmp_path / "cells"), image_size=16, **options)
        module.setup()
        return module

    return make


def files(module):
    return [[record.path.name for record in part.source.records] for part in module.splits]


def test_the_division_is_one_for_every_target_and_seed(cells):
    parts = {target: files(cells(target=target, seed=seed)) for seed, target in enumerate(elpv.CLASSES)}
    assert [len(part) for part in parts["defect"]] == [48, 16, 16]
    assert parts["defect"] == parts["level"] == parts["cell"]
    assert len({name for part in parts["cell"] for name in part}) == 80
    assert files(cells(split_seed=1)) != parts["cell"]


def test_every_part_holds_the_same_share_of_each_stratum(cells):
    for part, each in zip(cells().splits, (6, 2, 2), strict=True):
        strata = [(int(record.path.stem[-4:]) - 1) % 8 for record in part.source.records]
        assert Counter(strata) == dict.fromkeys(range(8), each)


def test_labels_of_the_targets(cells):
    for target, classes in elpv.CLASSES.items():
        module = cells(target=target)
        assert module.class_names == list(classes)
        for record in module.splits.train.source.records:
            stratum = (int(record.path.stem[-4:]) - 1) % 8  # the order the copy is written in
            expected = {"defect": int(stratum >= 4), "level": stratum // 2, "cell": stratum % 2}[target]
            assert record.label == expected


def test_other_fractions(cells):
    assert [len(part) for part in files(cells(val_fraction=0.1, test_fraction=0.3))] == [48, 8, 24]
    whole = cells(val_fraction=0.0)
    assert [len(part) for part in files(whole)] == [64, 16, 16]
    assert "validated on the test part" in whole.describe()
    with pytest.raises(OptionError, match=r"must be at most 0\.9 together, got 1"):
        cells(val_fraction=0.5, test_fraction=0.5)
    assert "divided by this project, data.split_seed=0" in whole.describe()


def test_a_probability_nobody_gave(cells, tmp_path):
    file = tmp_path / "cells/labels.csv"
    file.write_text(file.read_text().replace(" 1.0 ", " 0.9 ", 1))
    with pytest.raises(DataError, match=r"labels\.csv is not as it was published \(the probability 0\.9 of images/"):
        cells()


def test_without_the_package_the_extra_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, elpv.PACKAGE, None)
    monkeypatch.delenv("GCP_DATA", raising=False)
    with pytest.raises(DataError, match=r"dataset 'elpv' needs its files: install the extra elpv \(pip install"):
        create_datamodule("elpv").setup()


@pytest.mark.slow
def test_the_package_is_what_was_published():
    pytest.importorskip(elpv.PACKAGE)
    counts = {"defect": [1803, 821], "level": [1508, 295, 106, 715], "cell": [1074, 1550]}  # as its list has them
    for target, expected in counts.items():
        module = create_datamodule("elpv", target=target, image_size=160)
        module.setup()
        parts = [part.source.records.labels for part in module.splits]
        assert np.bincount(np.concatenate(parts)).tolist() == expected
        shares = [np.bincount(labels) / len(labels) for labels in parts]
        assert all(np.allclose(share, shares[0], atol=0.01) for share in shares)  # parts of 500: one image is 0.002
    assert module.check_images(("train", "val", "test")) == {}
    image, _ = module.splits.train[0]
    assert image.shape == (3, 160, 160)
