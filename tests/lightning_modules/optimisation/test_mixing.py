"""Mixed images: reproducible, without a trace in the global random state, and what torchvision makes."""

from __future__ import annotations

import torch

from lightning_modules.optimisation.mixing import Mixing
from lightning_modules.settings.training import TrainingOptions

CLASSES = 5
GENERATOR = torch.Generator().manual_seed(0)
IMAGES = torch.randn(6, 3, 8, 8, generator=GENERATOR)
LABELS = torch.tensor([0, 1, 2, 3, 4, 0])


def mixing(seed: int = 0, **options) -> Mixing:
    return Mixing(TrainingOptions(**options), CLASSES, seed)


def test_without_alphas_nothing_happens():
    images, labels = mixing()(IMAGES, LABELS, 0, 0)
    assert images is IMAGES
    assert labels is LABELS


def test_the_result_depends_on_seed_and_position_alone():
    mixed = mixing(mixup=0.4, cutmix=1.0)
    torch.manual_seed(1)
    before = torch.get_rng_state()
    first = mixed(IMAGES, LABELS, 3, 7)
    assert torch.equal(torch.get_rng_state(), before)
    torch.manual_seed(2)
    for one, two in zip(first, mixing(mixup=0.4, cutmix=1.0)(IMAGES, LABELS, 3, 7), strict=True):
        assert torch.equal(one, two)
    for other in (mixed(IMAGES, LABELS, 3, 8), mixed(IMAGES, LABELS, 4, 7)):
        assert not torch.equal(first[0], other[0])
    assert not torch.equal(first[0], mixing(seed=1, mixup=0.4, cutmix=1.0)(IMAGES, LABELS, 3, 7)[0])


def test_mixup_is_the_same_combination_of_images_and_labels():
    images, targets = mixing(mixup=1.0)(IMAGES, LABELS, 0, 0)
    share = targets[1, 1]  # of image 1, mixed with image 0
    assert 0 < share < 1
    expected = share * IMAGES + (1 - share) * IMAGES.roll(1, 0)
    torch.testing.assert_close(images, expected)
    one_hot = torch.nn.functional.one_hot(LABELS, CLASSES).float()
    torch.testing.assert_close(targets, share * one_hot + (1 - share) * one_hot.roll(1, 0))


def test_cutmix_pastes_as_much_as_the_targets_say():
    images, targets = mixing(cutmix=1.0)(IMAGES, LABELS, 0, 1)
    kept = (images == IMAGES).all(1)
    assert (kept | (images == IMAGES.roll(1, 0)).all(1)).all()
    share = kept.float().mean((1, 2))
    torch.testing.assert_close(targets[1:5].gather(1, LABELS[1:5, None])[:, 0], share[1:5])


def test_with_both_each_gets_its_turn():
    mixed = mixing(mixup=0.4, cutmix=1.0)
    pasted = [bool((mixed(IMAGES, LABELS, 0, batch)[0] == IMAGES).any()) for batch in range(20)]
    assert 3 < sum(pasted) < 17
