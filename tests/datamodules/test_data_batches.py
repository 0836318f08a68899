"""Batches, their sizes, and what the data module says about them."""

import pytest
import torch

from datamodules.base import ImageDataModule
from datamodules.options import DataOptions
from gcp.errors import DataError


def batch_sizes(loader):
    return [len(labels) for _, labels in loader]


@pytest.mark.parametrize(
    ("images", "batch_size", "expected"),
    [(20, 4, [4] * 5), (20, 6, [6] * 3), (21, 4, [4] * 5), (20, 20, [20]), (20, 64, [20]), (3, 1, [1] * 3)],
)
def test_training_batches_are_full_or_everything(numbered, images, batch_size, expected):
    module = numbered(images=images, batch_size=batch_size)
    module.setup()
    loader = module.train_dataloader()
    assert batch_sizes(loader) == expected
    assert len(loader) == len(expected)


def test_dropped_images_change_with_the_epoch(numbered):
    module = numbered(images=21, batch_size=4)
    module.setup()
    loader = module.train_dataloader()
    seen = []
    for epoch in range(8):
        loader.sampler.set_epoch(epoch)
        seen.append(frozenset(torch.cat([labels for _, labels in loader]).tolist()))
    assert len(set(seen)) > 1
    assert len(frozenset.union(*seen)) == 21


@pytest.mark.parametrize(("eval_batch_size", "val", "test"), [(None, [3, 3, 1], [3, 2]), (5, [5, 2], [5])])
def test_evaluation_keeps_every_image_in_order(numbered, eval_batch_size, val, test):
    module = numbered(batch_size=3, eval_batch_size=eval_batch_size)
    module.setup()
    assert batch_sizes(module.val_dataloader()) == val
    assert batch_sizes(module.test_dataloader()) == test
    assert torch.cat([labels for _, labels in module.val_dataloader()]).tolist() == list(range(7))


def test_setup_makes_the_images_once(numbered):
    module = numbered()
    for stage in ("fit", "validate", "test", None):
        module.setup(stage)
    assert module.made == 1


def test_loaders_before_setup_say_so(numbered):
    with pytest.raises(DataError, match=r"NumberedDataModule holds no images yet; call setup\(\) first"):
        numbered().train_dataloader()


@pytest.mark.parametrize("images", [0, 1])
def test_training_needs_two_images(numbered, images):
    with pytest.raises(DataError, match=rf"the train part needs at least 2 .* gave {images}"):
        numbered(images=images).setup()


def test_subclass_must_make_splits():
    with pytest.raises(TypeError, match="make_splits"):
        type("Half", (ImageDataModule,), {"class_names": []})(DataOptions())


def test_loaders_keep_their_processes_and_pass_options_on(numbered):
    module = numbered(num_workers=1, pin_memory=True)
    module.setup()
    for loader in (module.train_dataloader(), module.val_dataloader()):
        assert loader.persistent_workers
        assert loader.pin_memory
    module = numbered()
    module.setup()
    assert not module.train_dataloader().persistent_workers


class OneOfTwo:
    """What a data module asks Lightning's Trainer for."""

    world_size = 2

    def __init__(self, rank):
        self.global_rank = rank


def on_two_devices(numbered, **options):
    for rank in range(2):
        module = numbered(**options)
        module.trainer = OneOfTwo(rank)
        module.setup()
        yield module


@pytest.mark.parametrize(("batch_size", "batches"), [(4, [4, 4]), (15, [10])])
def test_two_devices_share_an_epoch(numbered, batch_size, batches):
    seen = []
    for module in on_two_devices(numbered, images=21, batch_size=batch_size):
        loader = module.train_dataloader()
        loader.sampler.set_epoch(3)
        assert batch_sizes(loader) == batches
        assert loader.state_dict() == {"epoch": 3, "batches": len(batches)}
        seen += torch.cat([labels for _, labels in loader]).tolist()
    assert len(seen) == len(set(seen)) == 2 * sum(batches)


def test_two_devices_evaluate_every_image_once(numbered):
    """7 images to validate and 5 to test: torch's sampler would repeat one of each."""
    modules = list(on_two_devices(numbered, batch_size=2))
    for part, size in (("val", 7), ("test", 5)):
        loaders = [getattr(module, f"{part}_dataloader")() for module in modules]
        seen = [torch.cat([labels for _, labels in loader]).tolist() for loader in loaders]
        assert sorted(seen[0] + seen[1]) == list(range(size))
        assert abs(len(seen[0]) - len(seen[1])) <= 1


def test_too_many_devices(numbered):
    module = numbered()
    module.trainer = OneOfTwo(0)
    module.trainer.world_size = 6
    module.setup()
    with pytest.raises(DataError, match="the test part holds 5 image"):
        module.test_dataloader()
