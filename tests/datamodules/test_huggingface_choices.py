"""Which splits, columns and classes of a dataset of the library are used, and where there is no telling."""

from __future__ import annotations

import datasets
import pyarrow as pa
import pytest

from datamodules.huggingface.columns import image_column, label_column
from datamodules.huggingface.labels import check_same, class_names, numbered
from datamodules.huggingface.split_names import parts_of_splits
from gcp.errors import DataError

AB = datasets.ClassLabel(names=["a", "b"])


def splits(names, **wanted):
    return parts_of_splits(names, {"train": None, "val": None, "test": None, **wanted}, "it")


@pytest.mark.parametrize(
    ("names", "wanted", "found"),
    [
        (["train", "validation", "test"], {}, {"train": "train", "val": "validation", "test": "test"}),
        (["Testing", "DEV", "training"], {}, {"train": "training", "val": "DEV", "test": "Testing"}),
        (["train", "validation"], {}, {"train": "train", "val": "validation"}),
        (["train", "extra", "test"], {}, {"train": "train", "test": "test"}),
        (["train", "extra", "test"], {"val": "extra"}, {"train": "train", "val": "extra", "test": "test"}),
        (["train", "validation", "test"], {"test": "validation"}, {"train": "train", "test": "validation"}),
        (["train", "test"], {"test": "unused"}, {"train": "train"}),
        (["train", "test"], {"val": "test", "test": "test"}, {"train": "train", "test": "test"}),
        (["a", "b"], {"train": "b"}, {"train": "b"}),
        (["full"], {}, {"train": "full"}),
    ],
)
def test_splits_by_their_names(names, wanted, found):
    assert splits(names, **wanted) == found
    assert next(iter(found)) == "train"


@pytest.mark.parametrize(
    ("names", "wanted", "sentence"),
    [
        (["train", "dev", "valid"], {}, r"it has both dev and valid for one part; choose one with data\.val_split"),
        (["a", "b"], {}, r"it has nothing to train on among a, b; name it with data\.train_split"),
        (["test"], {}, r"it has nothing to train on among test"),
        (
            ["train", "test"],
            {"test": "tset"},
            r"test_split=tset is no split of it \(did you mean 'test'\?\); it has tr",
        ),
        (["train", "test"], {"train": "unused"}, r"data\.train_split=unused is no split"),
        (["train", "test"], {"test": "train"}, r"cannot be trained on and be data\.test_split; use data\.holdout"),
    ],
)
def test_splits_that_are_not_there(names, wanted, sentence):
    with pytest.raises(DataError, match=sentence):
        splits(names, **wanted)


def labels(dtype, values):
    """A type, and a column of it in two pieces."""
    kind = "int64" if isinstance(dtype, datasets.ClassLabel) else dtype
    half = len(values) // 2
    column = pa.chunked_array([pa.array(values[:half], kind), pa.array(values[half:], kind)])
    return (dtype if isinstance(dtype, datasets.ClassLabel) else datasets.Value(dtype)), column


@pytest.mark.parametrize(
    ("dtype", "values", "names"),
    [
        ("string", ["b", "10", "2", "10"], ["10", "2", "b"]),
        ("large_string", ["b", "a"], ["a", "b"]),
        ("int64", [2, 1, 0, 0], ["0", "1", "2"]),
        ("uint8", [1, 0], ["0", "1"]),
        ("bool", [True, False], ["false", "true"]),
    ],
)
def test_labels_of_every_type(dtype, values, names):
    feature, column = labels(dtype, values)
    assert class_names(feature, column, "here") == names
    assert [names[label] for label in numbered(feature, column, names, "here")] == [
        str(each).lower() for each in values
    ]
    assert numbered(AB, labels(AB, [1, 0, 1])[1], AB.names, "here").tolist() == [1, 0, 1]


@pytest.mark.parametrize(
    ("dtype", "values", "tested", "sentence"),
    [
        (
            "int32",
            [1, 2, 4],
            None,
            r"here has whole numbers without names that are not 0, 1, 2, \.\.\. but 1, 2, 4; make",
        ),
        ("int32", [-1, 0, 1], None, r"not 0, 1, 2, \.\.\. but -1, 0, 1"),
        (
            "int64",
            [0, 1],
            [0, 2, 0, 2**40],
            "2 of 4 rows in here have a label that is none of the 2 .* first is 2 in row 1",
        ),
        ("string", ["a", "b"], ["a", "c"], "1 of 2 rows .* none of the 2 classes, the first is 'c' in row 1; mend it"),
        ("string", ["a", " "], None, "here has an empty text for a label"),
        ("string", ["a", "b", None], None, r"1 of 3 rows have no label \(null\) in here, the first is row 2"),
        (AB, [0, None, 1, None], None, r"2 of 4 rows have no label \(null\) in here, the first is row 1"),
        (AB, [0, 1], [-1, -1], "2 of 2 rows .* the first is -1 in row 0; -1 is written where labels are not published"),
        (AB, [0, 1], [0, 7], "1 of 2 rows .* the first is 7 in row 1"),
    ],
)
def test_labels_that_are_none(dtype, values, tested, sentence):
    feature, column = labels(dtype, values)
    with pytest.raises(DataError, match=sentence):
        numbered(feature, labels(dtype, tested or values)[1], class_names(feature, column, "here"), "here")


def test_labels_of_other_splits():
    check_same(AB, datasets.ClassLabel(names=["a", "b"]), "there")
    check_same(datasets.Value("int64"), datasets.Value("uint8"), "there")
    for names, sentence in ((["b", "a"], "the same in another order"), (["a", "c"], "b, c")):
        with pytest.raises(DataError, match=f"there has other classes than the training images: {sentence}"):
            check_same(AB, datasets.ClassLabel(names=names), "there")
    with pytest.raises(DataError, match="there has labels of another type than the training images"):
        check_same(AB, datasets.Value("int64"), "there")


IMAGE = datasets.Image()
STRUCT = {"bytes": datasets.Value("binary"), "path": datasets.Value("string")}


@pytest.mark.parametrize(
    ("features", "image", "label"),
    [
        ({"a": IMAGE, "b": AB, "c": datasets.Value("string")}, "a", "b"),
        ({"a": IMAGE, "thumb": datasets.Value("binary"), "b": datasets.Value("string")}, "a", "b"),
        ({"a": datasets.Value("large_binary"), "b": datasets.Value("bool")}, "a", "b"),
        ({"a": STRUCT, "b": datasets.Value("int8")}, "a", "b"),
    ],
)
def test_columns_by_their_types(features, image, label):
    assert image_column(features, None, "it") == image
    assert label_column(features, None, "it") == label
    assert label_column(features, label, "it") == label


@pytest.mark.parametrize(
    ("find", "wanted", "sentence"),
    [
        (image_column, None, r"it has 2 columns that may be its images: a, b; choose one with data\.image_column"),
        (label_column, None, r"it has 2 columns that may be its labels: fine, coarse; choose one with data\.label_col"),
        (
            label_column,
            "corse",
            r"label_column=corse is no column of it \(did you mean 'coarse'\?\); it has a \(Image\), ",
        ),
        (label_column, "a", r"data\.label_column=a holds Image, which is none of labels: ClassLabel, text"),
        (image_column, "fine", r"data\.image_column=fine holds ClassLabel, which is none of images"),
        (image_column, "size", r"data\.image_column=size holds float32, which is none of images"),
    ],
)
def test_columns_that_cannot_be_told(find, wanted, sentence):
    features = {"a": IMAGE, "b": IMAGE, "fine": AB, "coarse": AB, "size": datasets.Value("float32")}
    with pytest.raises(DataError, match=sentence):
        find(features, wanted, "it")


def test_an_image_to_be_decoded_in_another_mode():
    with pytest.raises(DataError, match=r"the column a of it is to be decoded as L, and images are always RGB here"):
        image_column({"a": datasets.Image(mode="L")}, None, "it")
    assert image_column({"a": datasets.Image(mode="RGB")}, None, "it") == "a"


def test_no_columns():
    with pytest.raises(DataError, match=r"it has no column of labels: .*; it has a \(Image\), size \(float32\)"):
        label_column({"a": IMAGE, "size": datasets.Value("float32")}, None, "it")
