"""Options of the datasets. Free of torch."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from datamodules.transforms.names import PROTOCOLS, TRANSFORMS
from gcp.errors import OptionError
from gcp.options import LARGEST_SEED, Options, option

CHANNELS = 3
LARGEST_IMAGE = 16384  # pixels of a side; a single batch of more does not fit any memory


def _transform(default: str) -> Any:
    return option(default, "what happens to the images, see docs/data.md", choices=tuple(TRANSFORMS.names()))


@dataclass(frozen=True)
class DataOptions(Options):
    """Options every dataset takes."""

    batch_size: int = option(32, "images per training step, on each device", minimum=1)
    eval_batch_size: int | None = option(None, "images per validation or test step; null: batch_size", minimum=1)
    num_workers: int = option(0, "processes that load images; 0 loads in the training process", minimum=0)
    image_size: int = option(64, "height and width of the images in pixels", minimum=1, maximum=LARGEST_IMAGE)
    seed: int = option(0, "seed of the order of the training images; the run sets it", minimum=0, maximum=LARGEST_SEED)
    pin_memory: bool = option(False, "copy batches into page-locked memory, for faster transfers to a GPU")
    path: str | None = option(None, "image, or folder of images, that mode=predict classifies")


@dataclass(frozen=True)
class DigitsOptions(DataOptions):
    """Options of the handwritten digits. The originals have 8x8 pixels, and no image is made smaller than they are."""

    image_size: int = option(
        64, "height and width of the images in pixels, at least the 8 they have", minimum=8, maximum=LARGEST_IMAGE
    )


@dataclass(frozen=True)
class TexturesOptions(DataOptions):
    """Options of the generated textures."""

    image_size: int = option(
        64, "height and width of the images in pixels; more make it easier", minimum=16, maximum=LARGEST_IMAGE
    )
    classes: int = option(8, "number of textures; more are harder to tell apart", minimum=2, maximum=32)
    train_per_class: int = option(100, "training images of each class", minimum=1)
    val_per_class: int = option(25, "validation images of each class", minimum=1)
    test_per_class: int = option(50, "test images of each class", minimum=1)
    generator_seed: int = option(
        0, "seed of the images themselves, which the run's seed leaves alone", minimum=0, maximum=LARGEST_SEED
    )


@dataclass(frozen=True)
class TransformOptions(DataOptions):
    """Options of datasets of pictures of any size, which a transform makes into images."""

    transform: str = _transform("imagenet224")
    image_size: int | None = option(  # type: ignore[assignment]  # wider than the base: the transform may decide
        None, "height and width of what the network sees; null: the transform's", minimum=1, maximum=LARGEST_IMAGE
    )
    mean: list[float] | None = option(
        None,
        "mean of each channel, of values from 0 to 1, that images are normalised by; null: that of the pretrained "
        "weights, or ImageNet's",
        minimum=0,
        maximum=1,
    )
    std: list[float] | None = option(None, "standard deviation, likewise", above=0)
    protocol: str = option(
        "center",
        "views of a test image whose logits are averaged: center, flip (and its mirror image), ten_crop, multi_scale",
        choices=PROTOCOLS,
    )
    decode_backend: str = option(
        "torchvision", "what reads the files: torchvision, or pil, which is slower", choices=("torchvision", "pil")
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        for name, other in (("mean", "std"), ("std", "mean")):
            values = getattr(self, name)
            if values is not None and len(values) != CHANNELS:
                raise OptionError(f"{name} must be {CHANNELS} numbers, one of each channel, got {values}")
            if values is None and getattr(self, other) is not None:
                raise OptionError(f"{other} is given without {name}; set both, or neither")


@dataclass(frozen=True)
class FileOptions(TransformOptions):
    """Options of datasets made of files."""

    transform: str = _transform("fgvc448")
    root: str | None = option(None, "folder of the dataset; null: $GCP_DATA/NAME")
    download: bool = option(False, "fetch what is not there, where it has a public address")
    check: bool = option(
        True,
        "on: before training, compare a published dataset with its official numbers of classes and images, and labels "
        "with the names of files, and look for images whose content is there twice; off: a subset on purpose",
    )
    damaged: str = option(
        "error",
        "what an image that cannot be read does: error ends the run, for those of validation and test before the first "
        "epoch; skip reads all images first, leaves these out and names them",
        choices=("error", "skip"),
    )
    holdout: float = option(
        0.0,
        "fraction of the training images held out for validation; 0: validate on the dataset's own validation part, "
        "or on the test part where it has none, as the papers do",
        minimum=0,
        maximum=0.9,
    )
    holdout_seed: int = option(
        0, "seed of that division, which the run's seed leaves alone", minimum=0, maximum=LARGEST_SEED
    )


@dataclass(frozen=True)
class StreamOptions(TransformOptions):
    """Options of datasets that are read from beginning to end, because they are too large for anything else."""

    shuffle_buffer: int = option(
        1000,
        "training images that each loading process holds, undecoded, to draw the next one from; 1: they come in the "
        "order they are stored in",
        minimum=1,
    )


@dataclass(frozen=True)
class FineGrainedOptions(FileOptions):
    """Options of the fine-grained datasets: 512 x 512, then the centre of 448 x 448."""


@dataclass(frozen=True)
class CUBOptions(FileOptions):
    """Options of CUB-200-2011."""

    transform: str = _transform("cub448")


@dataclass(frozen=True)
class CarsOptions(FileOptions):
    """Options of Stanford Cars."""

    transform: str = _transform("cars448")


@dataclass(frozen=True)
class AircraftOptions(FileOptions):
    """Options of FGVC-Aircraft."""

    level: str = option("variant", "what is told apart", choices=("variant", "family", "manufacturer"))
    crop_banner: bool = option(False, "cut off the 20 pixels at the bottom that name the photographer")


@dataclass(frozen=True)
class DogsOptions(FileOptions):
    """Options of Stanford Dogs."""

    crop_to_box: bool = option(False, "cut out the annotated box first; needs the folder Annotation")


@dataclass(frozen=True)
class ImageNetOptions(FileOptions):
    """Options of ImageNet."""

    transform: str = _transform("imagenet224")


@dataclass(frozen=True)
class CIFAROptions(FileOptions):
    """Options of CIFAR."""

    transform: str = _transform("small32")


@dataclass(frozen=True)
class FolderOptions(FileOptions):
    """Options of a folder of one's own."""

    transform: str = _transform("imagenet224")
    test_fraction: float = option(0.2, "of a single tree: fraction of each class to test on", above=0, maximum=0.9)


@dataclass(frozen=True)
class HuggingFaceOptions(FileOptions, StreamOptions):
    """Options of datasets of the library ``datasets``."""

    transform: str = _transform("imagenet224")
    root: str | None = option(None, "its folder, or OWNER/NAME on the Hub; null: $GCP_DATA/huggingface")
    subset: str | None = option(None, "configuration of the dataset; null: its usual one")
    revision: str | None = option(None, "branch, tag or commit on the Hub; null: the newest")
    image_column: str | None = option(None, "column of the images; null: the only one of their type")
    label_column: str | None = option(None, "column of the labels; null: the only one of their type")
    train_split: str | None = option(None, "split to train on; null: the one called train")
    val_split: str | None = option(None, "split to validate on; null: the one called so, if any; unused: not that one")
    test_split: str | None = option(None, "split to test on; null: the one called test, if any; unused: not that one")
    test_fraction: float = option(
        0.2, "of a dataset without a split for that: fraction of each class to test on", above=0, maximum=0.9
    )

    streaming: bool = option(False, "read rows of Parquet files as they come, instead of preparing a table of them")

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.streaming:
            for name, unset in (("damaged", "error"), ("holdout", 0.0)):
                if getattr(self, name) != unset:
                    raise OptionError(
                        f"{name}={getattr(self, name)} needs all images ahead, and streaming reads them as they come; "
                        "leave one of them out"
                    )
        elif self.shuffle_buffer != StreamOptions.shuffle_buffer:
            raise OptionError("shuffle_buffer is for streaming=true, a table is shuffled as a whole; leave it out")
        if self.download:
            raise OptionError("download is for archives, a dataset on the Hub is fetched by its name; leave it out")


@dataclass(frozen=True)
class FashionMNISTOptions(FileOptions):
    """Options of Fashion-MNIST."""

    transform: str = _transform("small28")


@dataclass(frozen=True)
class DTDOptions(FileOptions):
    """Options of Describable Textures."""

    transform: str = _transform("cub448")
    split: int = option(1, "which of the ten official divisions", minimum=1, maximum=10)


@dataclass(frozen=True)
class ElpvOptions(FileOptions):
    """Options of the solar cells."""

    transform: str = _transform("square224")
    target: str = option(
        "defect",
        "what is told apart: defect (probability above or below a half), level (0, 1/3, 2/3, 1) or cell (mono, poly)",
        choices=("defect", "level", "cell"),
    )
    val_fraction: float = option(0.2, "fraction of the images to validate on", minimum=0, maximum=0.8)
    test_fraction: float = option(0.2, "fraction of the images to test on", above=0, maximum=0.8)
    split_seed: int = option(
        0,
        "seed of the division into parts, which is ours; the run's seed leaves it alone",
        minimum=0,
        maximum=LARGEST_SEED,
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.val_fraction + self.test_fraction > 0.9:
            total = self.val_fraction + self.test_fraction
            raise OptionError(f"val_fraction and test_fraction must be at most 0.9 together, got {total:g}")


@dataclass(frozen=True)
class WebDatasetOptions(StreamOptions):
    """Options of shards."""

    transform: str | None = option(  # type: ignore[assignment]  # wider than the base: the index may decide
        None,
        "what happens to the images, see docs/data.md; null: as in the dataset the shards were written from, or "
        "imagenet224",
        choices=tuple(TRANSFORMS.names()),
    )
    urls: str | None = option(
        None,
        "shards to train on: a folder that mode=shards wrote, an index (.json), or files or addresses like "
        "https://host/train-{000..146}.tar",
    )
    val_urls: str | None = option(None, "shards to validate on; null: those the index names, or the test part")
    test_urls: str | None = option(None, "shards to test on; null: those the index names, or the validation part")
