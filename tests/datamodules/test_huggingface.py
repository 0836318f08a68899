"""Tables of the library ``datasets``: images are those of the folder they were made from, what is wrong is named."""

from __future__ import annotations

import ast
import pickle
import re
import shutil
import sys
from io import BytesIO
from pathlib import Path
from typing import Any

import datasets
import pytest
import torch
from PIL import Image

from datamodules.damage import unreadable
from datamodules.datasets import create_datamodule
from gcp.errors import DataError, MissingDependencyError, OptionError
from tests.conftest import ROOT
from tests.datamodules import fabricate

NAMES = ["apple", "pear", "plum"]
FEATURES = datasets.Features({"image": datasets.Image(), "label": datasets.ClassLabel(names=NAMES)})


@pytest.fixture(autouse=True)
def _cache_of_its_own(tmp_path, monkeypatch):
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path / "cache")


def made(root, name="huggingface", **options):
    module = create_datamodule(name, root=str(root), image_size=16, batch_size=4, **options)
    module.setup()
    return module


def rows(folder: Path) -> dict[str, list[dict[str, Any]]]:
    """Images with their labels of ``train`` and ``test``, in the order of the dataset ``folder``."""
    data = made(folder, "folder")
    parts = {"train": data.splits.train, "test": data.splits.test}
    return {
        name: [
            {"image": {"bytes": path.read_bytes(), "path": path.name}, "label": label}
            for path, label, _ in part.source.records
        ]
        for name, part in parts.items()
    }


def table(entries: list[dict[str, Any]], features: Any = FEATURES, **more: list[Any]) -> Any:
    """A dataset in memory with further columns."""
    found = datasets.Dataset.from_list(entries, features=features)
    for name, column in more.items():
        found = found.add_column(name, column)
    return found


@pytest.fixture
def photos(tmp_path):
    fabricate.folder(tmp_path / "photos")
    return tmp_path / "photos"


@pytest.fixture
def parts(photos):
    return rows(photos)


def saved(root: Path, **splits: Any) -> Path:
    datasets.DatasetDict(splits).save_to_disk(str(root))
    return root


def as_saved(root, parts):
    saved(root, **{name: table(part) for name, part in parts.items()})


def as_parquet(root, parts):
    for name, part in parts.items():
        half = len(part) // 2
        for number, piece in enumerate((part[:half], part[half:])):
            file = root / "data" / f"{name}-0000{number}-of-00002.parquet"
            file.parent.mkdir(parents=True, exist_ok=True)
            table(piece).to_parquet(str(file))


def as_bytes_and_text(root, parts):
    """As other programs write Parquet: nothing says what the columns are."""
    features = datasets.Features({"picture": datasets.Value("binary"), "fruit": datasets.Value("string")})
    root.mkdir()
    for name, part in parts.items():
        plain = [{"picture": row["image"]["bytes"], "fruit": NAMES[row["label"]]} for row in part]
        table(plain, features).to_parquet(str(root / f"{name}.parquet"))


def as_arrow(root, parts):
    as_saved(root.parent / "first", parts)
    root.mkdir()
    for name in parts:
        shutil.copy(root.parent / f"first/{name}/data-00000-of-00001.arrow", root / f"{name}.arrow")


def as_images(root, parts):
    shutil.copytree(root.parent / "photos", root)


@pytest.mark.parametrize("form", [as_saved, as_parquet, as_bytes_and_text, as_arrow, as_images])
def test_images_are_those_of_the_folder(form, tmp_path, photos, parts):
    form(tmp_path / "table", parts)
    data, expected = made(tmp_path / "table", seed=3), made(photos, "folder", seed=3)
    assert data.class_names == expected.class_names == NAMES
    assert data.describe() == expected.describe()
    assert data.class_counts.tolist() == [fabricate.TRAIN] * 3
    assert data.preprocessing == expected.preprocessing
    for mine, other in zip(data.splits, expected.splits, strict=True):
        assert len(mine) == len(other)
        for position in range(len(mine)):
            image, label = mine[position]
            assert label == other[position][1]
            assert torch.equal(image, other[position][0])  # random crops too: they belong to seed and position


def test_loading_processes_share_the_files(tmp_path, parts):
    as_saved(tmp_path / "table", parts)
    alone, shared = made(tmp_path / "table"), made(tmp_path / "table", num_workers=2)
    for batch, other in zip(alone.test_dataloader(), shared.test_dataloader(), strict=True):
        assert torch.equal(batch[0], other[0])
    source = alone.splits.train.source
    sent = pickle.dumps(source)  # as where processes are not forked
    assert len(sent) < 4000 + sum(len(row["image"]["bytes"]) for row in parts["train"]) / 2
    assert torch.equal(pickle.loads(sent)[5][0], source[5][0])


def test_an_order_chosen_by_the_library(tmp_path, parts):
    chosen = table(parts["train"]).shuffle(seed=1)
    data = made(saved(tmp_path / "table", train=chosen, test=table(parts["test"])))
    assert [data.splits.train.source[at][1] for at in range(len(chosen))] == chosen["label"][:]
    assert data.train_labels.tolist() == chosen["label"][:]


def test_a_format_that_was_saved_changes_nothing(tmp_path, photos, parts):
    splits = {name: table(part).with_format("torch", columns=["label"]) for name, part in parts.items()}
    data = made(saved(tmp_path / "table", **splits))
    assert torch.equal(data.splits.test[3][0], made(photos, "folder").splits.test[3][0])


# Labels


def labelled(parts, tmp_path, feature, values, tested=None):
    """Saved with other labels."""
    features = datasets.Features({"image": datasets.Image(), "label": feature})
    splits = {}
    for name, labels in (("train", values), ("test", tested or values[: len(parts["test"])])):
        entries = [{**row, "label": label} for row, label in zip(parts[name], labels, strict=False)]
        splits[name] = table(entries, features)
    return saved(tmp_path / "table", **splits)


@pytest.mark.parametrize(
    ("dtype", "values", "names"),
    [
        ("string", ["b", "10", "2"] * 4, ["10", "2", "b"]),
        ("large_string", ["b", "a"] * 6, ["a", "b"]),
        ("int64", [2, 1, 0] * 4, ["0", "1", "2"]),
        ("uint8", [1, 0] * 6, ["0", "1"]),
        ("bool", [True, False] * 6, ["false", "true"]),
    ],
)
def test_labels_of_every_type(dtype, values, names, tmp_path, parts):
    data = made(labelled(parts, tmp_path, datasets.Value(dtype), values))
    assert data.class_names == names
    assert [names[label] for label in data.train_labels] == [str(value).lower() for value in values]


@pytest.mark.parametrize(
    ("feature", "values", "tested", "sentence"),
    [
        (datasets.Value("int32"), [1, 2, 4] * 4, None, "without names that are not 0, 1, 2, ... but 1, 2, 4"),
        (datasets.Value("int32"), [-1, 0, 1] * 4, None, "not 0, 1, 2, ... but -1, 0, 1"),
        (datasets.Value("int64"), [0, 1] * 6, [0, 2] * 3, "3 of 6 rows in .* split test .* 2 in row 1"),
        (datasets.Value("string"), ["a", "b"] * 6, ["a", "c"] * 3, "none of the 2 classes, the first is 'c'"),
        (datasets.Value("string"), ["a", ""] * 6, None, "an empty text for a label"),
        (datasets.Value("string"), ["a", None] * 6, None, r"6 of 12 rows have no label \(null\) in .*row 1"),
        (datasets.ClassLabel(names=["a", "b"]), [0, 1, None] * 4, None, r"4 of 12 rows have no label \(null\)"),
        (datasets.ClassLabel(names=["a", "b"]), [0, 1] * 6, [-1] * 6, "6 of 6 .* -1 is written where"),
        (datasets.ClassLabel(names=["a", "b", "c"]), [0, 1] * 6, None, "1 of 3 classes have no training image: c"),
        (datasets.Value("float32"), [0.0, 1.0] * 6, None, r"it has image \(Image\), label \(float32\)"),
        (datasets.Value("string"), ["a"] * 12, None, "one class only, 'a'"),
    ],
)  # fmt: skip
def test_labels_that_are_none(feature, values, tested, sentence, tmp_path, parts):
    root = labelled(parts, tmp_path, feature, values, tested)
    with pytest.raises(DataError, match=sentence) as caught:
        made(root)
    assert "\n" not in str(caught.value)


def test_a_label_beyond_the_class_label(tmp_path, parts):
    """The library refuses to write one, other programs do not."""
    import pyarrow.parquet as pq

    as_parquet(tmp_path / "table", parts)
    file = tmp_path / "table/data/test-00001-of-00002.parquet"
    written = pq.read_table(file)
    labels = written.column("label").to_numpy().copy()
    labels[2] = 7
    pq.write_table(written.set_column(1, written.schema.field("label"), [labels]), file)
    with pytest.raises(DataError, match=r"1 of 6 rows in .* split test .* the first is 7 in row 5"):
        made(tmp_path / "table")


@pytest.mark.parametrize(
    ("other", "sentence"),
    [
        (datasets.ClassLabel(names=["apple", "plum", "pear"]), "split test has other classes .*: the same in another"),
        (datasets.ClassLabel(names=["apple", "pear", "quince"]), "other classes than the training images: plum"),
        (datasets.Value("int64"), "the split test has labels of another type"),
    ],
)  # fmt: skip
def test_a_split_with_other_labels(other, sentence, tmp_path, parts):
    test = table(parts["test"], datasets.Features({**FEATURES, "label": other}))
    with pytest.raises(DataError, match=sentence):
        made(saved(tmp_path / "table", train=table(parts["train"]), test=test))


def test_a_split_without_labels(tmp_path, parts):
    root = saved(tmp_path / "table", train=table(parts["train"]), test=table(parts["test"]).remove_columns("label"))
    with pytest.raises(DataError, match="the split test has no column label, as the training images have; it"):
        made(root)


# Columns


def test_columns_are_chosen_where_there_are_several(tmp_path, parts):
    image, fine = FEATURES.values()
    features = datasets.Features({"a": image, "b": image, "fine": fine, "coarse": datasets.ClassLabel(2)})
    twice = {
        name: table(
            [{"a": row["image"], "b": row["image"], "fine": row["label"], "coarse": row["label"] // 2} for row in part],
            features,
        )
        for name, part in parts.items()
    }  # fmt: skip
    root = saved(tmp_path / "table", **twice)
    with pytest.raises(DataError, match=r"2 columns that may be its images: a, b; choose one with data\.image_column"):
        made(root)
    with pytest.raises(DataError, match=r"2 columns that may be its labels: fine, coarse; choose one with data\.label"):
        made(root, image_column="a")
    assert made(root, image_column="b", label_column="coarse").class_names == ["0", "1"]
    with pytest.raises(DataError, match=r"label_column=corse is no column of .*\(did you mean 'coarse'\?\); it has a"):
        made(root, image_column="b", label_column="corse")
    with pytest.raises(DataError, match=r"data\.label_column=a holds Image, which is none of labels"):
        made(root, image_column="b", label_column="a")
    with pytest.raises(DataError, match=r"data\.image_column=fine holds ClassLabel, which is none of images"):
        made(root, image_column="fine")


# Splits


@pytest.mark.parametrize(
    ("names", "options", "parts_taken"),
    [
        (["training", "valid", "testing"], {}, "12 training, 6 validation, 6 test images"),
        (["train", "validation"], {}, "12 training, 6 validation, 6 test images; validated on the test part"),
        (["train", "extra", "test"], {}, "validated on the test part; splits not used: extra"),
        (["train", "extra", "test"], {"val_split": "extra"}, "12 training, 6 validation, 6 test images"),
        (["full"], {}, "9 training, 3 validation, 3 test images; validated on the test part; divided by"),
        (
            ["train", "test"],
            {"test_split": "none", "test_fraction": 0.5},
            "6 training, 6 validation, 6 test .*: test",
        ),
        (["train", "test"], {"holdout": 0.25}, "9 training, 3 validation, 6 test images$"),
    ],
)
def test_splits_by_their_names(names, options, parts_taken, tmp_path, parts):
    splits = {name: table(parts["test" if place else "train"]) for place, name in enumerate(names)}
    data = made(saved(tmp_path / "table", **splits), check=False, **options)
    assert re.search(parts_taken, data.describe()), data.describe()


@pytest.mark.parametrize(
    ("names", "options", "sentence"),
    [
        (["train", "dev", "valid"], {}, r"has both dev and valid for one part; choose one with data\.val_split"),
        (["a", "b"], {}, r"nothing to train on among a, b; name it with data\.train_split"),
        (["test"], {}, r"nothing to train on among test"),
        (
            ["train", "test"],
            {"test_split": "tset"},
            r"test_split=tset is no split of .* \(did you mean 'test'\?\)",
        ),
        (["train", "test"], {"train_split": "none"}, r"data\.train_split=none is no split"),
        (["train", "test"], {"test_split": "train"}, r"cannot be trained on and be data\.test_split"),
    ],
)
def test_splits_that_are_not_there(names, options, sentence, tmp_path, parts):
    splits = {name: table(parts["test" if place else "train"]) for place, name in enumerate(names)}
    with pytest.raises(DataError, match=sentence):
        made(saved(tmp_path / "table", **splits), **options)


# Images


def broken(parts, contents):
    """A row of each split has other contents."""
    for name, part in parts.items():
        part[1] = {**part[1], "image": {"bytes": contents and contents + name.encode(), "path": None}}
    return parts


@pytest.mark.parametrize("contents", [b"\xff\xd8\xff damaged", b"no image", b""])
def test_damaged_images_are_named_by_their_rows(contents, tmp_path, parts):
    as_saved(tmp_path / "table", broken(parts, contents))
    data = made(tmp_path / "table")
    with pytest.raises(DataError, match=r"train\[1\] is (damaged|not an image).*; replace it in the dataset"):
        data.splits.train[1]
    with pytest.raises(DataError, match=r"1 of 6 test images cannot be read: test\[1\] .*data\.damaged=skip"):
        data.check_images(("test",))
    left = made(tmp_path / "table", damaged="skip")
    assert sorted(left.check_images(("train", "val", "test"))) == ["test[1]", "train[1]"]
    assert (len(left.splits.train), len(left.splits.test)) == (11, 5)
    assert unreadable(left.splits.train.source, 0, "training") == {}


PLAIN = datasets.Features(
    {"image": {"bytes": datasets.Value("binary"), "path": datasets.Value("string")}, "label": FEATURES["label"]}
)  # as Parquet holds images where nothing says that they are such


def test_rows_without_an_image(tmp_path, parts):
    for name, part in parts.items():
        part[2] = {**part[2], "image": None}
        part[3] = {**part[3], "image": {"bytes": None, "path": None}} if name == "train" else part[3]
    root = saved(tmp_path / "table", **{name: table(part, PLAIN) for name, part in parts.items()})
    with pytest.raises(DataError, match=r"2 of 12 rows of the split train have no image \(null\), the first is row 2"):
        made(root)
    found = made(root, damaged="skip").check_images(("train", "val", "test"))
    assert found == dict.fromkeys(["train[2]", "train[3]", "test[2]"], "no image (null)")


def test_rows_that_name_files(tmp_path, photos, parts):
    expected = made(photos, "folder").splits
    for part, records in (("train", expected.train.source.records), ("test", expected.test.source.records)):
        for row, path in zip(parts[part][::2], list(records.paths())[::2], strict=True):
            row["image"] = {"bytes": None, "path": path}
    root = saved(tmp_path / "table", **{name: table(part, PLAIN) for name, part in parts.items()})
    data = made(root)
    for position in range(12):
        assert torch.equal(data.splits.train[position][0], expected.train[position][0])
    gone = expected.train.source.records.path(4)
    Path(gone).unlink()
    with pytest.raises(DataError, match=rf"1 of 6 training images are not there: {gone}"):
        made(root)


def test_copies_in_two_parts_are_refused(tmp_path, parts):
    parts["test"][0] = {**parts["test"][0], "image": parts["train"][3]["image"]}
    as_saved(tmp_path / "table", parts)
    with pytest.raises(DataError, match=r"1 image is a copy of another one: test\[0\] \(test\) of train\[3\]"):
        made(tmp_path / "table")
    made(tmp_path / "table", check=False)


def test_the_orientation_a_camera_noted_is_left_alone(tmp_path, parts):
    target, exif = BytesIO(), Image.Exif()
    exif[274] = 6
    Image.new("RGB", (20, 10)).save(target, "JPEG", exif=exif)
    as_saved(tmp_path / "table", broken(parts, target.getvalue()))
    assert made(tmp_path / "table", check=False).splits.train.source[1][0].shape == (3, 10, 20)


# Places


def test_places_that_hold_no_dataset(tmp_path, parts, monkeypatch):
    as_saved(tmp_path / "fruit/saved", parts)
    as_parquet(tmp_path / "tables", parts)
    monkeypatch.chdir(tmp_path)
    for root, sentence in {
        "table": r"root=table is no folder \(did you mean 'tables'\?\), and a dataset on the Hub is called OWNER/NAME",
        "fruit": r"fruit holds folders that save_to_disk wrote \(saved\); .*data\.root=fruit/saved",
        "fruit/saved/dataset_dict.json": r"is a file; give the folder it lies in",
        "fruit/saved/train/nothing": r"is no folder, and",
    }.items():
        with pytest.raises(DataError, match=sentence):
            made(root)
    (tmp_path / "empty").mkdir()
    with pytest.raises(DataError, match=r"data\.root=empty cannot be read by the library datasets: .*; mend the files"):
        made("empty")
    with pytest.raises(DataError, match=r"data\.revision=main is for datasets on the Hub"):
        made("tables", revision="main")
    with pytest.raises(DataError, match=r"data\.subset=small is for files with a description"):
        made("fruit/saved", subset="small")
    with pytest.raises(DataError, match=r"data\.root=tables cannot be read .*BuilderConfig 'small' not found"):
        made("tables", subset="small")
    with pytest.raises(OptionError, match="a dataset on the Hub is fetched by its name"):
        made("tables", download=True)


def test_a_folder_called_as_a_reader_of_the_library(tmp_path, parts, monkeypatch):
    as_parquet(tmp_path / "parquet", parts)
    monkeypatch.chdir(tmp_path)
    assert len(made("parquet").splits.train) == 12


def test_files_that_the_library_passes_over_are_said(tmp_path, parts):
    as_parquet(tmp_path / "table", parts)
    table(parts["train"][:3]).to_parquet(str(tmp_path / "table/data/more.parquet"))
    assert "1 files are not read: data/more.parquet" in made(tmp_path / "table").describe()


@pytest.mark.parametrize("form", [as_saved, as_parquet, as_arrow])
def test_damaged_tables(form, tmp_path, parts):
    form(tmp_path / "table", parts)
    for file in [*(tmp_path / "table").rglob("*.arrow"), *(tmp_path / "table").rglob("*.parquet")]:
        file.write_bytes(file.read_bytes()[:300])
    with pytest.raises(DataError, match=r"cannot be read by the library datasets: ") as caught:
        made(tmp_path / "table")
    assert "\n" not in str(caught.value)


def test_code_beside_the_data_is_refused(tmp_path, parts):
    as_parquet(tmp_path / "table", parts)
    (tmp_path / "table/table.py").write_text("raise SystemExit('run')")
    with pytest.raises(DataError, match=r"Dataset scripts are no longer supported, but found table\.py"):
        made(tmp_path / "table")


def test_files_without_images(tmp_path):
    (tmp_path / "table").mkdir()
    (tmp_path / "table/train.csv").write_text("a,b\n1,2\n")
    with pytest.raises(DataError, match="holds files of the kind csv; images are read from Parquet"):
        made(tmp_path / "table")


def test_changed_files_are_read_again(tmp_path, parts):
    """The library keeps what it made of them."""
    as_parquet(tmp_path / "table", parts)
    before = made(tmp_path / "table").splits.train.source[0][0]
    as_parquet(tmp_path / "table", {**parts, "train": parts["train"][::-1]})
    assert not torch.equal(made(tmp_path / "table").splits.train.source[0][0], before)


# The Hub, which no test reaches


def test_a_name_on_the_hub_without_a_connection():
    with pytest.raises(DataError) as caught:
        made("someone/fruit")
    text = str(caught.value)
    assert text.startswith("data.root=someone/fruit is no folder, and the Hub, ")
    assert "out of reach" in text
    assert text.endswith("connect this machine, or give a folder")
    assert "\n" not in text


def test_the_library_is_not_installed(tmp_path, parts, monkeypatch):
    as_saved(tmp_path / "table", parts)
    monkeypatch.setitem(sys.modules, "datasets", None)
    with pytest.raises(MissingDependencyError, match=r"install it: pip install '\.\[huggingface\]'"):
        made(tmp_path / "table")


def test_nothing_imports_the_library_before_it_is_needed():
    for file in (ROOT / "datamodules").rglob("*.py"):
        for node in ast.parse(file.read_text(encoding="utf-8")).body:
            names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            names += [node.module or ""] if isinstance(node, ast.ImportFrom) else []
            assert not {name.split(".")[0] for name in names} & {"datasets", "pyarrow", "huggingface_hub"}, file
