"""Transforms by name: geometry against PIL, views against their definition, randomness that belongs to the image."""

from __future__ import annotations

import pickle

import numpy as np
import pytest
import torch
from PIL import Image
from torch.utils.data import DataLoader

from datamodules.augmented import AugmentedImages
from datamodules.preprocessing import Preprocessing
from datamodules.sampler import EpochPosition, EpochSampler
from datamodules.transforms.building import create_transform
from datamodules.transforms.names import TRANSFORMS
from gcp.backbones.imagenet import MEAN, STD
from gcp.errors import UnknownNameError

GREY_LEVELS = 1.5  # PIL and torchvision round the two passes of resizing on their own


def smooth(height: int, width: int) -> Image.Image:
    noise = np.random.default_rng(0).integers(0, 256, (6, 8, 3), dtype=np.uint8)
    return Image.fromarray(noise).resize((width, height), Image.Resampling.BICUBIC)


def tensor(image: Image.Image) -> torch.Tensor:
    return torch.from_numpy(np.array(image)).permute(2, 0, 1).contiguous()


def levels(normalised: torch.Tensor) -> torch.Tensor:
    """Back to grey levels, 0 to 255."""
    mean, std = (torch.tensor(values)[:, None, None] for values in (MEAN, STD))
    return (normalised * std + mean) * 255


def centre(image: Image.Image, size: int) -> Image.Image:
    left, top = round((image.width - size) / 2), round((image.height - size) / 2)
    return image.crop((left, top, left + size, top + size))


def short_side(image: Image.Image, side: int) -> Image.Image:
    ratio = side / min(image.size)
    size = [side if edge == min(image.size) else int(edge * ratio) for edge in image.size]
    return image.resize(size, Image.Resampling.BILINEAR)


EXPECTED = {
    "imagenet224": lambda image: centre(short_side(image, 256), 224),
    "cub448": lambda image: centre(short_side(image, 448), 448),
    "fgvc448": lambda image: centre(image.resize((512, 512), Image.Resampling.BILINEAR), 448),
    "cars448": lambda image: image.resize((448, 448), Image.Resampling.BILINEAR),
    "small32": lambda image: image,
    "small28": lambda image: image,
    "square224": lambda image: image.resize((224, 224), Image.Resampling.BILINEAR),
    "plain224": lambda image: image.resize((224, 224), Image.Resampling.BILINEAR),
}
SMALL = {"small32": 32, "small28": 28}


@pytest.mark.parametrize("part", ["val", "test"])
@pytest.mark.parametrize("name", TRANSFORMS.names())
def test_evaluation_is_that_of_the_published_table(name, part):
    image = smooth(SMALL[name], SMALL[name]) if name in SMALL else smooth(375, 500)
    expected = tensor(EXPECTED[name](image)).float()
    seen = levels(create_transform(name, part)(tensor(image)))
    assert seen.shape == expected.shape == (3, TRANSFORMS.get(name).image_size, TRANSFORMS.get(name).image_size)
    assert (seen - expected).abs().max() <= GREY_LEVELS


@pytest.mark.parametrize("name", ["cub448", "fgvc448", "cars448", "square224"])
def test_fine_grained_training_is_evaluation_and_a_mirror(name):
    image = tensor(smooth(375, 500))
    expected = create_transform(name, "val")(image)
    transform = create_transform(name, "train")
    torch.manual_seed(0)
    seen = [transform(image) for _ in range(12)]
    mirrored = [torch.equal(each, expected.flip(-1)) for each in seen]
    assert all(mirror or torch.equal(each, expected) for each, mirror in zip(seen, mirrored, strict=True))
    assert 0 < sum(mirrored) < 12


@pytest.mark.parametrize("name", TRANSFORMS.names())
def test_what_is_called_random_is(name):
    size = SMALL.get(name, 500)
    image = tensor(smooth(size, size))
    transform = create_transform(name, "train")
    torch.manual_seed(0)
    first, *others = [transform(image) for _ in range(8)]
    assert any(not torch.equal(first, other) for other in others) == TRANSFORMS.get(name).random
    assert TRANSFORMS.get(name).random or torch.equal(first, create_transform(name, "test")(image))


def test_another_normalisation():
    image, half = tensor(smooth(60, 80)), ([0.5] * 3, [0.25] * 3)
    for part in ("train", "test"):
        seen = create_transform("plain224", part, protocol="flip", normal=half)(image)
        assert (
            seen * 0.25 * 255 + 127.5 - levels(create_transform("plain224", part, protocol="flip")(image))
        ).abs().max() < 1e-3


def test_imagenet_training_crops_at_random():
    image = tensor(smooth(375, 500))
    transform = create_transform("imagenet224", "train")
    torch.manual_seed(0)
    first, second = transform(image), transform(image)
    assert first.shape == second.shape == (3, 224, 224)
    assert not torch.equal(first, second)


def test_padded_training_shifts_by_at_most_four_pixels():
    image = torch.full((3, 32, 32), 255, dtype=torch.uint8)
    torch.manual_seed(0)
    for _ in range(20):
        seen = levels(create_transform("small32", "train")(image)) > 254
        assert seen.shape == (3, 32, 32)
        assert seen[0].any(0).sum() >= 28
        assert seen[0].any(1).sum() >= 28


@pytest.mark.parametrize("name", TRANSFORMS.names())
@pytest.mark.parametrize("part", ["train", "val", "test"])
def test_another_image_size(name, part):
    seen = create_transform(name, part, image_size=48)(tensor(smooth(60, 80)))
    assert seen.shape == (3, 48, 48)
    assert levels(seen).min() >= -1e-3 - (name in SMALL and part == "train")  # no black border from padding


def test_flip_is_the_centre_and_its_mirror_image():
    image = tensor(smooth(375, 500))
    plain, both = (create_transform("fgvc448", "test", protocol=protocol)(image) for protocol in ("center", "flip"))
    assert torch.equal(both, torch.stack([plain, plain.flip(-1)]))


def test_ten_crops_are_the_corners_the_centre_and_their_mirror_images():
    image = smooth(375, 500)
    seen = levels(create_transform("imagenet224", "test", protocol="ten_crop")(tensor(image)))
    resized = short_side(image, 256)
    right, low = resized.width - 224, resized.height - 224
    corners = [(0, 0), (right, 0), (0, low), (right, low)]
    crops = []
    for whole in (resized, resized.transpose(Image.Transpose.FLIP_LEFT_RIGHT)):
        crops += [whole.crop((x, y, x + 224, y + 224)) for x, y in corners] + [centre(whole, 224)]
    expected = torch.stack([tensor(crop).float() for crop in crops])
    assert seen.shape == (10, 3, 224, 224)
    assert (seen - expected).abs().max() <= GREY_LEVELS


def test_multi_scale_has_three_scales_and_their_mirror_images():
    image = tensor(smooth(375, 500))
    seen = create_transform("imagenet224", "test", protocol="multi_scale")(image)
    assert seen.shape == (6, 3, 224, 224)
    assert torch.equal(seen[1::2], seen[::2].flip(-1))
    assert torch.equal(seen[2], create_transform("imagenet224", "test")(image))
    assert not torch.equal(seen[0], seen[2])


@pytest.mark.parametrize("part", ["train", "val"])
def test_protocols_are_for_the_test_part(part):
    assert create_transform("imagenet224", part, protocol="ten_crop")(tensor(smooth(60, 80))).shape == (3, 224, 224)


def test_unknown_names():
    with pytest.raises(UnknownNameError, match="did you mean 'cub448'"):
        create_transform("cub44", "test")
    with pytest.raises(UnknownNameError, match=r"unknown protocol 'flips'.*'flip'"):
        create_transform("cub448", "test", protocol="flips")


@pytest.mark.parametrize("name", TRANSFORMS.names())
def test_pictures_from_elsewhere_are_seen_like_the_test_images(name):
    size = TRANSFORMS.get(name).image_size
    image = tensor(smooth(SMALL[name], SMALL[name]) if name in SMALL else smooth(375, 500))
    resize = TRANSFORMS.get(name).resized(size)
    sides = None if resize is None else [resize] if isinstance(resize, int) else list(resize)
    seen = Preprocessing(size, ["a"], list(MEAN), list(STD), sides)(image / 255)
    expected = create_transform(name, "test")(image)
    assert (levels(seen) - levels(expected)).abs().max() <= GREY_LEVELS  # one resizes whole numbers, one does not


class Stored:
    """Six images in memory."""

    def __len__(self):
        return 6

    def __getitem__(self, position):
        return tensor(smooth(40, 50)), int(position)


def batches(seed, epoch, workers=0, skip=0):
    sampler = EpochSampler(6, seed=seed, epoch=epoch)
    sampler.skip = skip
    images = AugmentedImages(Stored(), create_transform("imagenet224", "train", 16), seed=seed)
    loader = DataLoader(images, 2, sampler=sampler, num_workers=workers, persistent_workers=workers > 0)
    return torch.cat([batch for batch, _ in loader])


def test_randomness_belongs_to_seed_epoch_and_image():
    torch.manual_seed(1)
    first = batches(0, 3)
    state = torch.random.get_rng_state()
    torch.manual_seed(2)
    assert torch.equal(batches(0, 3), first)
    assert torch.equal(batches(0, 3, workers=2), first)
    assert torch.equal(batches(0, 3, skip=2), first[2:])
    assert not torch.equal(batches(0, 4), first)
    assert not torch.equal(batches(1, 3), first)
    torch.manual_seed(1)
    batches(0, 3)
    assert torch.equal(torch.random.get_rng_state(), state)


def test_a_visit_keeps_its_epoch_on_the_way_to_another_process():
    visit = pickle.loads(pickle.dumps(EpochPosition(4, epoch=7)))
    assert (visit, visit.epoch) == (4, 7)
    assert [10, 11, 12, 13, 14][visit] == 14
