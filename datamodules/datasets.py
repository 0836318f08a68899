"""What datasets there are, what options they take, and where their data modules live; free of torch."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from gcp.options import Options, make_options, option
from gcp.registry import Registry, resolve

if TYPE_CHECKING:
    from datamodules.base import ImageDataModule


@dataclass(frozen=True)
class DataOptions(Options):
    """Options every dataset takes."""

    batch_size: int = option(32, "images per training step, on each device", minimum=1)
    eval_batch_size: int | None = option(None, "images per validation or test step; none: batch_size", minimum=1)
    num_workers: int = option(0, "processes that load images; 0 loads in the training process", minimum=0)
    image_size: int = option(64, "height and width of the images in pixels", minimum=1)
    seed: int = option(0, "seed of the order of the training images; the run sets it", minimum=0)
    pin_memory: bool = option(False, "copy batches into page-locked memory, for faster transfers to a GPU")


@dataclass(frozen=True)
class DigitsOptions(DataOptions):
    """Options of the handwritten digits. The originals have 8x8 pixels, and no image is made smaller than they are."""

    image_size: int = option(64, "height and width of the images in pixels, at least the 8 they have", minimum=8)


@dataclass(frozen=True)
class TexturesOptions(DataOptions):
    """Options of the generated textures."""

    image_size: int = option(64, "height and width of the images in pixels; more make it easier", minimum=16)
    classes: int = option(8, "number of textures; more are harder to tell apart", minimum=2, maximum=32)
    train_per_class: int = option(100, "training images of each class", minimum=1)
    val_per_class: int = option(25, "validation images of each class", minimum=1)
    test_per_class: int = option(50, "test images of each class", minimum=1)
    generator_seed: int = option(0, "seed of the images themselves, which the run's seed leaves alone", minimum=0)


@dataclass(frozen=True)
class DatasetInfo:
    """What is known about a dataset before its module is imported.

    Attributes:
        name: the name users type.
        options: its option class, a subclass of DataOptions.
        datamodule: a subclass of ImageDataModule, or where it is: ``"package.module:Class"``, imported when needed. It
            is called with an instance of ``options``.
        num_classes: number of classes under default options; None where only the files tell.
        summary: one line for listings.
        source: where the images come from: an address, a citation, "generated".
    """

    name: str
    options: type[DataOptions]
    datamodule: str | Callable[..., ImageDataModule]
    num_classes: int | None
    summary: str
    source: str = ""


DATASETS: Registry[DatasetInfo] = Registry("dataset")


def register_dataset(info: DatasetInfo) -> DatasetInfo:
    """Make a dataset known under ``info.name``. Raises OptionError if another one has that name."""
    return DATASETS.register(info.name, info)


def list_datasets() -> list[str]:
    """Names of all datasets, in the order they were registered."""
    return DATASETS.names()


def create_datamodule(name: str, **options: Any) -> ImageDataModule:
    """The data module of a dataset, not yet set up: nothing is read or generated before ``setup()``.

    Args:
        name: one of ``list_datasets()``.
        **options: fields of the dataset's option class; what is left out takes its default.

    Raises:
        UnknownNameError: no dataset has that name.
        OptionError: an option does not exist, has the wrong type or lies outside its range.
    """
    info = DATASETS.get(name)
    checked = make_options(info.options, options, f"dataset '{name}'")
    module: ImageDataModule = resolve(info.datamodule)(checked)
    return module


register_dataset(
    DatasetInfo(
        name="digits",
        options=DigitsOptions,
        datamodule="datamodules.digits:DigitsDataModule",
        num_classes=10,
        summary="1,797 handwritten digits that come with scikit-learn: a first run, too easy to rank methods",
        source="UCI Optical Recognition of Handwritten Digits, test part, as shipped by sklearn.datasets.load_digits",
    )
)
register_dataset(
    DatasetInfo(
        name="textures",
        options=TexturesOptions,
        datamodule="datamodules.textures:TexturesDataModule",
        num_classes=8,
        summary="generated textures that differ in second-order statistics only",
        source="generated in memory from generator_seed",
    )
)
