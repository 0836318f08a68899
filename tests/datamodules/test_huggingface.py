"""Tables of the library ``datasets``: images are those of the folder they were made from, what is wrong is named."""

from __future__ import annotations

import ast
import pickle
import shutil
import sys
from io import BytesIO
from pathlib import Path
from typing import Any

import datasets
import numpy as np
import pyarrow.parquet
import pytest
import torch
from PIL import Image

from datamodules.damage import unreadable
from datamodules.datasets import create_datamodule
from gcp.errors import DataError, MissingDependencyError, OptionError
from tests.conftest import ROOT
from tests.datamodules import fabricate
from tests.slow import slow_unless

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


def table(entries: list[dict[str, Any]], features: Any = FEATURES) -> Any:
    """A dataset in memory."""
    return datasets.Dataset.from_list(entries, features=features)


@pytest.fixture(scope="module")
def photos(tmp_path_factory):
    root = tmp_path_factory.mktemp("of_files") / "photos"
    fabricate.folder(root)
    return root


@pytest.fixture(scope="module")
def all_rows(photos):
    return rows(photos)


@pytest.fixture
def parts(all_rows):
    return {name: [dict(row) for row in part] for name, part in all_rows.items()}


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
    for name, part in parts.items():
        for row in part:
            file = root / name / NAMES[row["label"]] / row["image"]["path"]
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_bytes(row["image"]["bytes"])


FORMS = [as_saved, as_parquet, as_bytes_and_text, as_arrow, as_images]


@pytest.mark.parametrize("form", slow_unless([as_parquet, as_bytes_and_text, as_images], FORMS))
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


def test_a_label_beyond_the_class_label(tmp_path, parts):
    """The library refuses to write one, other programs do not."""
    as_parquet(tmp_path / "table", parts)
    file = tmp_path / "table/data/test-00001-of-00002.parquet"
    written = pyarrow.parquet.read_table(file)
    labels = written.column("label").to_numpy().copy()
    labels[2] = 7
    pyarrow.parquet.write_table(written.set_column(1, written.schema.field("label"), [labels]), file)
    with pytest.raises(DataError, match=r"1 of 6 rows in .* split test .* the first is 7 in row 5"):
        made(tmp_path / "table")


def test_a_split_with_other_classes(tmp_path, parts):
    other = datasets.Features({**FEATURES, "label": datasets.ClassLabel(names=NAMES[::-1])})
    root = saved(tmp_path / "table", train=table(parts["train"]), test=table(parts["test"], other))
    with pytest.raises(
        DataError, match=r"the column label of the split test has other classes .*: the same in another"
    ):
        made(root)


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


def test_a_split_is_divided_and_the_others_are_said(tmp_path, parts):
    root = saved(tmp_path / "table", train=table(parts["train"]), test=table(parts["test"]), extra=table(parts["test"]))
    assert made(root, check=False).describe().endswith("validated on the test part; splits not used: extra")
    divided = made(root, test_split="unused", test_fraction=0.5, check=False)
    assert "6 training, 6 validation, 6 test images" in divided.describe()
    assert divided.describe().endswith("divided by data.test_fraction=0.5; splits not used: test, extra")
    with pytest.raises(DataError, match=r"data\.test_fraction=0\.1 holds out 0 images of 12, .*another fraction"):
        made(root, test_split="unused", test_fraction=0.1, check=False)
    held = made(root, val_split="extra", holdout=0.25, check=False)
    assert "9 training, 3 validation, 6 test images" in held.describe()
    assert "12 training, 6 validation, 6 test" in made(root, val_split="extra", check=False).describe()


# Images


def broken(parts, contents):
    """A row of each split has other contents."""
    for name, part in parts.items():
        part[1] = {**part[1], "image": {"bytes": contents and contents + name.encode(), "path": None}}
    return parts


@pytest.mark.parametrize("contents", slow_unless([b"no image"], [b"\xff\xd8\xff damaged", b"no image", b""]))
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


def test_rows_that_name_files(tmp_path, parts):
    photos = tmp_path / "photos"
    as_images(photos, parts)
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
    with pytest.raises(DataError, match=r"data\.subset=small is no configuration of .*tables; it has default"):
        made("tables", subset="small")
    with pytest.raises(OptionError, match="a dataset on the Hub is fetched by its name"):
        made("tables", download=True)


def test_configurations(tmp_path, parts):
    as_parquet(tmp_path / "table/small", parts)
    as_parquet(tmp_path / "table/large", {name: part * 2 for name, part in parts.items()})
    entries = "".join(f"- config_name: {name}\n  data_dir: {name}\n" for name in ("small", "large"))
    (tmp_path / "table/README.md").write_text(f"---\nconfigs:\n{entries}---\n")
    assert len(made(tmp_path / "table", subset="large").splits.train) == 24
    with pytest.raises(DataError, match=r"table has the configurations small, large; choose one with data\.subset"):
        made(tmp_path / "table")
    with pytest.raises(
        DataError, match=r"subset=smal is no configuration of .* \(did you mean 'small'\?\); it has small"
    ):
        made(tmp_path / "table", subset="smal")


def test_a_table_whose_offsets_lie_beyond_its_end(tmp_path, parts):
    """Reading such a row would end the process."""
    as_saved(tmp_path / "table", parts)
    file = tmp_path / "table/test/data-00000-of-00001.arrow"
    ends = np.cumsum([0, *(len(row["image"]["bytes"]) for row in parts["test"])]).astype(np.int32)
    wrong = ends.copy()
    wrong[2] = 2**30
    assert file.read_bytes().count(ends.tobytes()) == 1
    file.write_bytes(file.read_bytes().replace(ends.tobytes(), wrong.tobytes()))
    with pytest.raises(DataError, match=r"the split test cannot be read by the library datasets: .*; write it anew"):
        made(tmp_path / "table")


def test_a_folder_called_as_a_reader_of_the_library(tmp_path, parts, monkeypatch):
    as_parquet(tmp_path / "parquet", parts)
    monkeypatch.chdir(tmp_path)
    assert len(made("parquet").splits.train) == 12


def test_files_that_the_library_passes_over_are_said(tmp_path, parts):
    as_parquet(tmp_path / "table", parts)
    table(parts["train"][:3]).to_parquet(str(tmp_path / "table/data/more.parquet"))
    assert "1 files are not read: data/more.parquet" in made(tmp_path / "table").describe()


@pytest.mark.parametrize("form", slow_unless([as_saved, as_parquet], [as_saved, as_parquet, as_arrow]))
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
