"""Streamed datasets: every image once, the same order for the same seed, resumed exactly or refused."""

from __future__ import annotations

import multiprocessing
from itertools import chain, islice

import pytest
import torch

from datamodules.options import StreamOptions
from datamodules.stream_module import StreamDataModule, Streams
from datamodules.streams import AHEAD, Sample, StreamedImages
from gcp.errors import DataError

CLASSES = 100  # so that labels tell images apart
IMAGES, VAL, TEST = 61, 10, 7
PATTERN = torch.arange(3 * 8 * 8, dtype=torch.uint8).reshape(3, 8, 8)


class Numbered:
    """Blank images, each with its number as its label; a range of its own for each lane, or dealt out."""

    def __init__(self, length, dealt=False, holds=None):
        self.length = length
        self.dealt = dealt
        self.holds = length if holds is None else holds
        self.begun = []

    def __len__(self):
        return self.length

    def read(self, lane, wanted):
        self.begun.append(next(iter(wanted), None))
        for place in wanted:
            position = lane.dealt(place) if self.dealt else lane.start + place
            if position >= self.holds:
                return
            yield Sample(PATTERN * (position + 1), position, position, f"image {position}")


class NumberedDataModule(StreamDataModule):
    dealt = False
    val = True

    def open(self):
        train, val, test = (Numbered(length, self.dealt) for length in (IMAGES, VAL, TEST))
        return Streams([str(number) for number in range(CLASSES)], train, test, val if self.val else None)


class OneOf:
    """What a data module asks Lightning's Trainer for."""

    def __init__(self, rank, world_size):
        self.global_rank = rank
        self.world_size = world_size


def module(rank=0, devices=1, dealt=False, val=True, **options):
    defaults = {"batch_size": 4, "num_workers": 0, "transform": "small28", "image_size": 8}
    defaults |= {"shuffle_buffer": 8}
    data = NumberedDataModule(StreamOptions(**{**defaults, **options}))
    data.dealt, data.val = dealt, val
    data.trainer = OneOf(rank, devices)
    data.setup()
    return data


def in_process(loader):
    """The batches of labels a loader with loading processes gives, by a dataset of its own for each of them."""
    workers = loader.num_workers or 1
    of_process = [StreamedImages(**arguments(loader.dataset)) for _ in range(workers)]
    return [
        [of_process[number % workers][index][1] for index in batch] for number, batch in enumerate(loader.batch_sampler)
    ]


def arguments(images):
    state = images.__getstate__()
    assert state.pop("_reading") is None
    return state


def of_devices(devices, part="train", epoch=0, **options):
    batches = []
    for rank in range(devices):
        loader = getattr(module(rank, devices, **options), f"{part}_dataloader")()
        if part == "train":
            loader.sampler.set_epoch(epoch)
        batches.append(in_process(loader))
        assert len(batches[-1]) == len(loader)
    return batches


@pytest.mark.parametrize("dealt", [False, True])
def test_two_devices_with_three_processes_each_give_every_image_once(dealt):
    options = {"num_workers": 3, "dealt": dealt}
    epochs = [of_devices(2, epoch=epoch, **options) for epoch in range(3)]
    for ranks in epochs:
        assert [[len(batch) for batch in batches] for batches in ranks] == [[4] * 7] * 2
        seen = list(chain(*chain(*ranks)))
        assert len(set(seen)) == len(seen) == 56
    assert epochs[0] != epochs[1] != epochs[2] != epochs[0]
    assert epochs[1] == of_devices(2, epoch=1, **options)
    assert epochs[1] != of_devices(2, epoch=1, seed=1, **options)


@pytest.mark.parametrize("part", ["val", "test"])
@pytest.mark.parametrize("workers", [0, 1, 3])
def test_evaluation_gives_every_image_once(part, workers):
    size = VAL if part == "val" else TEST
    for devices in (1, 2, 3):
        ranks = of_devices(devices, part, num_workers=workers)
        seen = list(chain(*chain(*ranks)))
        assert sorted(seen) == list(range(size))
        if workers < 2:
            assert seen == list(range(size))


@pytest.mark.parametrize("workers", [0, pytest.param(2, marks=pytest.mark.slow)])
def test_the_loader_gives_what_was_counted_on_and_goes_on_exactly(workers):
    loader = module(num_workers=workers).train_dataloader()
    expected = {}
    for epoch in (0, 1):
        loader.sampler.set_epoch(epoch)
        expected[epoch] = in_process(loader)
        assert [labels.tolist() for _, labels in loader] == expected[epoch]
    loader.sampler.set_epoch(1)
    batches = iter(loader)
    for _ in range(5):
        next(batches)
    state = loader.state_dict()
    assert (state["epoch"], state["batches"]) == (1, 5)
    resumed = module(num_workers=workers).train_dataloader()
    resumed.load_state_dict(state)
    resumed.sampler.set_epoch(1)
    assert [labels.tolist() for _, labels in resumed] == expected[1][5:]
    resumed.sampler.set_epoch(0)  # nothing is skipped twice
    assert [labels.tolist() for _, labels in resumed] == expected[0]


def test_images_are_those_of_their_epoch_and_position_whatever_came_before():
    loader = module().train_dataloader()
    loader.sampler.set_epoch(2)
    whole = list(loader)
    resumed = module().train_dataloader()
    resumed.load_state_dict({**loader.state_dict(), "batches": 9})
    resumed.sampler.set_epoch(2)
    assert all(torch.equal(one[0], other[0]) for one, other in zip(whole[9:], resumed, strict=True))


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        (
            {"num_workers": 3},
            r"inside epoch 2 with 2 loading process\(es\) .* goes on with 3: make data.num_workers 2 ag",
        ),
        ({"batch_size": 5}, "with 4 images in a batch"),
        ({"shuffle_buffer": 9}, "with 8 images in the shuffle buffer"),
        ({"devices": 2}, r"with 1 device\(s\), .* make trainer.devices times"),
    ],
)
def test_another_division_inside_an_epoch_is_refused(change, sentence):
    loader = module(num_workers=2).train_dataloader()
    state = {"epoch": 1, "batches": 3, **loader.sampler.layout}
    other = module(**{"num_workers": 2, **change}).train_dataloader()
    other.load_state_dict(state)
    other.sampler.set_epoch(1)
    with pytest.raises(DataError, match=sentence):
        next(iter(other))
    other.load_state_dict({**state, "epoch": 0})  # that epoch is over
    assert len(list(islice(other, 1))) == 1


def test_too_many_devices():
    for part, size in (("train", IMAGES), ("val", VAL), ("test", TEST)):
        with pytest.raises(DataError, match=f"the {part} part holds {size} .* too few for 70 devices; use fewer"):
            getattr(module(rank=69, devices=70), f"{part}_dataloader")()


def test_other_orders_work_too_and_read_as_little_as_they_can():
    source = Numbered(AHEAD + 100)
    images = StreamedImages(source, lambda image: image, classes=AHEAD + 100)
    assert [images[position][1] for position in (0, 1, 5, 40)] == [0, 1, 5, 40]
    assert source.begun == [0]
    assert [images[position][1] for position in (3, -1, 2)] == [3, AHEAD + 99, 2]
    assert source.begun == [0, 3, AHEAD + 99, 2]
    with pytest.raises(IndexError):
        images[AHEAD + 100]


def test_a_forked_process_opens_the_stream_itself():
    """The place in an open file is shared between a process and those it forks."""
    images = StreamedImages(source := Numbered(10), lambda image: image, classes=10)
    assert images[0][1] == 0
    answers = multiprocessing.get_context("fork").SimpleQueue()
    child = multiprocessing.get_context("fork").Process(target=lambda: answers.put((images[3][1], source.begun)))
    child.start()
    assert answers.get() == (3, [0, 3])
    child.join()


def test_parts_are_described():
    data = module(val=False)
    assert "61 training, 7 validation, 7 test images; validated on the test part" in data.describe()
    assert "validated on" not in module().describe()
    assert data.class_counts is None
    with pytest.raises(DataError, match="has opened no streams yet"):
        NumberedDataModule(StreamOptions()).describe()


def test_labels_and_lengths_that_are_wrong():
    images = StreamedImages(Numbered(10), lambda image: image, classes=4, remedy="mend the shard")
    with pytest.raises(DataError, match=r"image 4 has the label 4, and the 4 classes have 0 to 3; mend the shard"):
        images[4]
    short = StreamedImages(Numbered(10, holds=6), lambda image: image, classes=10)
    assert short[5][1] == 5
    with pytest.raises(DataError, match="a stream of 10 images has ended early"):
        short[6]
