"""Streams of Parquet: every image once, pixels of the table, an order that mixes files, exact to go on with."""

from __future__ import annotations

import dataclasses
from itertools import chain

import datasets
import pyarrow.parquet
import pytest
import pytorch_lightning as pl
import torch
from pytorch_lightning.callbacks import ModelCheckpoint

from datamodules.datasets import create_datamodule
from datamodules.huggingface.parquet import rows_of
from gcp.errors import DataError, OptionError
from tests.datamodules import fabricate
from tests.datamodules.test_data_resume import QUIET, Recorder
from tests.datamodules.test_streams import OneOf, in_process
from tests.slow import slow_unless

ROWS, FILES, GROUP = 50, 3, 4  # rows to train on, the files they are in, rows of a row group
FEATURES = datasets.Features(
    {"image": datasets.Image(), "label": datasets.ClassLabel(names=[f"c{n}" for n in range(60)])}
)


@pytest.fixture(autouse=True)
def _cache_of_its_own(tmp_path, monkeypatch):
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path / "cache")


@pytest.fixture(scope="module")
def numbered(tmp_path_factory):
    """A dataset of pictures whose labels are their numbers, so that labels tell them apart."""
    root = tmp_path_factory.mktemp("numbered")
    fabricate.picture(root / "of_files/0.jpg", 0)
    contents = (root / "of_files/0.jpg").read_bytes()
    (root / "of_files/0.jpg").unlink()
    for name, begin, end in (("train", 0, ROWS), ("validation", 0, 7), ("test", 3, 12)):
        for number in range(FILES):
            rows = [{"image": {"bytes": contents, "path": None}, "label": label} for label in range(begin, end)]
            piece = datasets.Dataset.from_list(rows[number * len(rows) // FILES : (number + 1) * len(rows) // FILES])
            piece = piece.cast(FEATURES)
            piece.to_parquet(str(root / f"{name}-{number:05d}-of-{FILES:05d}.parquet"), batch_size=GROUP)
    return root


def module(root, rank=0, devices=1, **options):
    defaults = {"batch_size": 4, "image_size": 8, "transform": "small28", "shuffle_buffer": 6}
    data = create_datamodule("huggingface", root=str(root), streaming=True, **{**defaults, **options})
    data.trainer = OneOf(rank, devices)
    data.setup()
    return data


@pytest.fixture
def streamed(numbered, monkeypatch):
    """Makes the data module, as of a dataset all of whose labels occur: the last ten do not."""
    monkeypatch.setattr("datamodules.sets.huggingface_stream.check_classes", lambda *_: None)
    return lambda *place, **options: module(numbered, *place, **options)


def epoch_of(loader, epoch):
    loader.sampler.set_epoch(epoch)
    return in_process(loader)


def test_the_files_have_row_groups(numbered):
    metadata = pyarrow.parquet.read_metadata(numbered / "train-00000-of-00003.parquet")
    assert [metadata.row_group(number).num_rows for number in range(metadata.num_row_groups)] == [4, 4, 4, 4]


def test_two_devices_with_three_processes_each_give_every_image_once(streamed):
    loaders = [streamed(rank, 2, num_workers=3).train_dataloader() for rank in range(2)]
    epochs = [[epoch_of(loader, epoch) for loader in loaders] for epoch in range(2)]
    for ranks in epochs:
        assert [[len(batch) for batch in batches] for batches in ranks] == [[4] * 6] * 2
        seen = list(chain(*chain(*ranks)))
        assert len(set(seen)) == len(seen) == 48
    assert epochs[0] != epochs[1] == [epoch_of(loader, 1) for loader in loaders]


@pytest.mark.parametrize("part", slow_unless(["test"], ["val", "test"]))
def test_evaluation_gives_every_image_once_and_in_order(part, streamed):
    labels = list(range(7)) if part == "val" else list(range(3, 12))
    for devices, workers in ((1, 0), (2, 3)):
        loaders = [
            getattr(streamed(rank, devices, num_workers=workers), f"{part}_dataloader")() for rank in range(devices)
        ]
        seen = list(chain(*chain(*(in_process(loader) for loader in loaders))))
        assert sorted(seen) == labels
        if workers < 2:
            assert seen == labels


def test_every_row_group_may_come_first(streamed):
    """Rows that are sorted by class come in another order than they are stored in, without a buffer too."""
    loader = streamed(shuffle_buffer=1).train_dataloader()
    first = set()
    for epoch in range(30):
        loader.sampler.set_epoch(epoch)
        first.add(loader.dataset[next(iter(loader.sampler))][1])
    assert len(first) >= 8  # of 13 row groups; the chance of fewer in 30 draws is below 1 in 1000


@pytest.mark.parametrize("workers", slow_unless([0], [0, 2]))
def test_going_on_inside_an_epoch(workers, streamed):
    loader = streamed(num_workers=workers).train_dataloader()
    loader.sampler.set_epoch(1)
    whole = list(loader)
    resumed = streamed(num_workers=workers).train_dataloader()
    resumed.load_state_dict({"epoch": 1, "batches": 5, **loader.sampler.layout})
    resumed.sampler.set_epoch(1)
    rest = list(resumed)
    assert len(rest) == len(whole) - 5 == 7
    for (images, labels), (others, other_labels) in zip(whole[5:], rest, strict=True):
        assert torch.equal(labels, other_labels)
        assert torch.equal(images, others)  # random crops too


@pytest.mark.slow
@pytest.mark.parametrize("workers", [0, 2])
def test_a_run_goes_on_inside_an_epoch(workers, streamed, tmp_path):
    """By Lightning itself, from the checkpoint after 17 of 24 batches, 12 in each epoch."""

    def fit(folder, resumed=None):
        model = Recorder()
        kept = ModelCheckpoint(tmp_path / folder, filename="{step}", save_top_k=-1, every_n_train_steps=1)
        data = create_datamodule(
            "huggingface", **{**dataclasses.asdict(streamed().options), "num_workers": workers, "seed": 3}
        )
        pl.Trainer(max_epochs=2, callbacks=[kept], **QUIET).fit(model, data, ckpt_path=resumed, weights_only=True)
        return model.seen

    whole = fit("whole")
    assert len(whole) == 24
    assert fit("rest", tmp_path / "whole/step=17.ckpt") == whole[17:]


@pytest.fixture
def fruit(tmp_path):
    fabricate.table(tmp_path / "fruit")
    return tmp_path / "fruit"


def test_pixels_classes_and_counts_are_those_of_the_table(fruit):
    stream = module(fruit, num_workers=0)
    table = create_datamodule("huggingface", root=str(fruit), batch_size=4, image_size=8, transform="small28")
    table.setup()
    assert stream.class_names == table.class_names
    assert stream.class_counts.tolist() == table.class_counts.tolist()
    assert stream.preprocessing == table.preprocessing
    assert stream.describe() == table.describe()
    for one, other in zip(stream.test_dataloader(), table.test_dataloader(), strict=True):
        assert torch.equal(one[0], other[0])
        assert torch.equal(one[1], other[1])
    sample, _ = stream.splits.train.sample(7)
    assert (sample.name, sample.position) == ("train[7]", 7)
    assert torch.equal(stream.splits.train[7][0], table.splits.train[7][0])  # random crops belong to the row


def test_labels_of_text(fruit):
    for part in ("train", "test"):
        rows = datasets.Dataset.from_parquet(str(fruit / f"{part}.parquet")).remove_columns("label").to_list()
        labelled = [{**row, "label": ["b", "10", "2"][number % 3]} for number, row in enumerate(rows)]
        datasets.Dataset.from_list(labelled).to_parquet(str(fruit / f"{part}.parquet"))
    stream = module(fruit)
    assert stream.class_names == ["10", "2", "b"]
    assert stream.class_counts.tolist() == [4, 4, 4]
    assert torch.cat([labels for _, labels in stream.test_dataloader()]).tolist() == [2, 0, 1, 2, 0, 1]


def rewrite(file, column, values):
    """As a program other than the library would, which refuses some of this."""
    written = pyarrow.parquet.read_table(file)
    index = written.schema.names.index(column)
    new = pyarrow.array(values, written.schema.field(index).type)
    pyarrow.parquet.write_table(written.set_column(index, written.schema.field(index), new), file)


@pytest.mark.parametrize(
    ("column", "value", "sentence"),
    [
        (
            "label",
            None,
            r"1 of 6 rows have no label \(null\) in the column label of the split test, the first is row 2",
        ),
        ("label", -1, r"1 of 6 rows .* -1 is written where labels are not published"),
        (
            "image",
            None,
            r"the row test\[2\] holds no image \(null\); replace it in the dataset, or leave out data\.strea",
        ),
        ("image", {"bytes": None, "path": "a.jpg"}, r"test\[2\] holds the name of a file \(a\.jpg\) and no image"),
        ("image", {"bytes": b"no image", "path": None}, r"test\[2\] is not an image; replace it in the dataset"),
    ],
)
def test_rows_that_are_no_images_with_labels(column, value, sentence, fruit):
    values = pyarrow.parquet.read_table(fruit / "test.parquet").column(column).to_pylist()
    rewrite(fruit / "test.parquet", column, [*values[:2], value, *values[3:]])
    with pytest.raises(DataError, match=sentence):
        list(module(fruit).test_dataloader())


def test_a_file_with_other_classes_or_columns(fruit):
    """The library itself goes by the first file."""
    other = datasets.Features(
        {"image": datasets.Image(), "label": datasets.ClassLabel(names=["pear", "apple", "plum"])}
    )
    rows = [{**row, "label": 0} for row in datasets.Dataset.from_parquet(str(fruit / "test.parquet")).to_list()]
    datasets.Dataset.from_list(rows, features=other).to_parquet(str(fruit / "test.parquet"))
    with pytest.raises(DataError, match=r"test\.parquet, .* has other classes .*: the same in another order"):
        module(fruit)
    with pytest.raises(DataError, match=r"test\.parquet, .* has other classes .*: the same in another order"):
        create_datamodule("huggingface", root=str(fruit)).setup()
    written = pyarrow.parquet.read_table(fruit / "train.parquet")
    pyarrow.parquet.write_table(written.drop_columns("label"), fruit / "test.parquet")
    with pytest.raises(DataError, match=r"test\.parquet has no column label, as other files have"):
        module(fruit)


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({"damaged": "skip"}, "damaged=skip needs all images ahead"),
        ({"holdout": 0.2}, r"holdout=0\.2 needs all images ahead"),
        ({"streaming": False, "shuffle_buffer": 7}, "shuffle_buffer is for streaming=true"),
    ],
)
def test_options_that_cannot_be(options, sentence, fruit):
    with pytest.raises(OptionError, match=sentence):
        create_datamodule("huggingface", root=str(fruit), **{"streaming": True, **options})


def test_datasets_that_cannot_be_streamed(fruit, tmp_path):
    with pytest.raises(DataError, match=r"no split to test on beside train, and a stream cannot be divided"):
        module(fruit, test_split="unused")
    datasets.load_dataset(str(fruit)).save_to_disk(str(tmp_path / "saved"))
    with pytest.raises(DataError, match=r"reads files of Parquet, and .*saved is a table already, .*; leave it out"):
        module(tmp_path / "saved")
    fabricate.folder(tmp_path / "photos")
    with pytest.raises(DataError, match=r"reads files of Parquet, and .*photos has .*JPEG"):
        module(tmp_path / "photos")
    with pytest.raises(DataError, match=r"the Hub, .* is out of reach .*; connect this machine, or give a folder"):
        module("someone/fruit")


def test_a_file_that_is_cut_off_while_it_is_read(fruit):
    file = fruit / "test.parquet"
    data = module(fruit)
    file.write_bytes(file.read_bytes()[:3000])
    with pytest.raises(DataError, match=r"test\.parquet cannot be read \(.*\); restore it, or mend the connection"):
        list(data.test_dataloader())
    with pytest.raises(DataError, match=r"cannot be read"):
        next(rows_of(str(fruit / "nothing.parquet"), [0], ["label"]))
