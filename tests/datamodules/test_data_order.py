"""The order of training images depends on seed and epoch, whatever happened before."""

import pytest
import torch

from datamodules.sampler import EpochSampler
from datamodules.seeding import private_generator


def order(loader):
    return torch.cat([labels for _, labels in loader]).tolist()


def test_every_image_once():
    assert sorted(EpochSampler(50, seed=3, epoch=2)) == list(range(50))


def test_order_is_a_function_of_seed_and_epoch():
    travelled = EpochSampler(50, seed=3)
    first = list(travelled)
    travelled.set_epoch(4)
    list(travelled)
    torch.manual_seed(1)
    assert list(travelled) == list(EpochSampler(50, seed=3, epoch=4)) != first


def test_neighbouring_seeds_and_epochs_are_unrelated():
    orders = {tuple(EpochSampler(50, seed, epoch)) for seed in range(4) for epoch in range(4)}
    assert len(orders) == 16


def test_global_random_state_is_left_alone(numbered):
    torch.manual_seed(5)
    before = torch.get_rng_state()
    module = numbered()
    module.setup()
    order(module.train_dataloader())
    order(module.val_dataloader())
    private_generator(1, 2)
    assert torch.equal(torch.get_rng_state(), before)


@pytest.mark.parametrize("workers", [0, 2])
def test_loader_follows_the_sampler(numbered, workers):
    module = numbered(batch_size=4, seed=7, num_workers=workers)
    module.setup()
    loader = module.train_dataloader()
    for epoch in (0, 1, 5):
        loader.sampler.set_epoch(epoch)
        assert order(loader) == list(EpochSampler(20, seed=7, epoch=epoch))


def test_runs_differ_by_their_seed(numbered):
    orders = []
    for seed in (0, 1):
        module = numbered(seed=seed)
        module.setup()
        orders.append(order(module.train_dataloader()))
    assert orders[0] != orders[1]
