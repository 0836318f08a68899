"""What datasets there are, what options they take, and where their data modules live; free of torch."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, fields
from inspect import isabstract
from typing import TYPE_CHECKING, Any

from datamodules.options import (
    AircraftOptions,
    CarsOptions,
    CIFAROptions,
    CUBOptions,
    DataOptions,
    DigitsOptions,
    DogsOptions,
    DTDOptions,
    ElpvOptions,
    FashionMNISTOptions,
    FineGrainedOptions,
    FolderOptions,
    HuggingFaceOptions,
    ImageNetOptions,
    TexturesOptions,
    WebDatasetOptions,
)
from gcp.errors import PluginError
from gcp.options import check_options, make_options
from gcp.registry import Registry, resolve

if TYPE_CHECKING:
    from datamodules.base import ImageDataModule


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
    """Make a dataset known under ``info.name``. Raises OptionError if another one has that name, or its
    options are not `DataOptions`.
    """
    check_options(info.options, DataOptions)
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
    from datamodules.base import ImageDataModule  # torch

    info = DATASETS.get(name)
    checked = make_options(info.options, options, f"dataset '{name}'")
    build = resolve(info.datamodule)
    if isabstract(build):
        lacking = ", ".join(sorted(build.__abstractmethods__))
        raise PluginError(f"the data module of dataset '{name}' lacks {lacking}, see datamodules.base.ImageDataModule")
    module = build(checked) if callable(build) else build
    if not isinstance(module, ImageDataModule):
        raise PluginError(
            f"dataset '{name}' must give an ImageDataModule (datamodules.base), got {type(module).__name__}"
        )
    return module


def check_classes(name: str, module: ImageDataModule) -> None:
    """Raise PluginError if the dataset was registered with another number of classes than its data module has.

    Nothing is known where an option of the dataset's own is set.
    """
    info = DATASETS.get(name)
    own = {field.name for field in fields(info.options)} - {field.name for field in fields(DataOptions)}
    usual = info.options()
    if info.num_classes in (None, module.num_classes) or any(
        getattr(module.options, field) != getattr(usual, field) for field in own
    ):
        return
    raise PluginError(
        f"the dataset '{name}' is registered with num_classes={info.num_classes}, and {type(module).__name__} has "
        f"{module.num_classes} classes; mend one of them"
    )


def _register(
    name: str, options: type[DataOptions], datamodule: str, num_classes: int | None, summary: str, source: str
) -> None:
    place = f"datamodules.{datamodule}DataModule"
    register_dataset(DatasetInfo(name, options, place, num_classes, summary, source))


_register(
    "digits",
    DigitsOptions,
    "digits:Digits",
    10,
    "1,797 handwritten digits that come with scikit-learn: a first run, too easy to rank methods",
    "UCI Optical Recognition of Handwritten Digits, test part, as shipped by sklearn.datasets.load_digits",
)
_register(
    "textures",
    TexturesOptions,
    "textures:Textures",
    8,
    "generated textures that differ in second-order statistics only",
    "generated in memory from generator_seed",
)
_register(
    "imagenet",
    ImageNetOptions,
    "sets.imagenet:ImageNet",
    1000,
    "ImageNet, 1000 classes: train/ and val/, or the official archives",
    "arXiv 1409.0575, https://image-net.org",
)
_register(
    "cub",
    CUBOptions,
    "sets.cub:CUB",
    200,
    "CUB-200-2011, birds",
    "Caltech technical report CNS-TR-2011-001, https://www.vision.caltech.edu/datasets/cub_200_2011",
)
_register(
    "aircraft",
    AircraftOptions,
    "sets.aircraft:Aircraft",
    100,
    "FGVC-Aircraft: variants, families or manufacturers",
    "arXiv 1306.5151, https://www.robots.ox.ac.uk/~vgg/data/fgvc-aircraft",
)
_register("cars", CarsOptions, "sets.cars:Cars", 196, "Stanford Cars, either published layout", "3dRR 2013")
_register(
    "dogs",
    DogsOptions,
    "sets.dogs:Dogs",
    120,
    "Stanford Dogs, pictures out of ImageNet's training set",
    "FGVC workshop 2011, http://vision.stanford.edu/aditya86/ImageNetDogs",
)
_register(
    "flowers",
    FineGrainedOptions,
    "sets.flowers:Flowers",
    102,
    "Oxford Flowers-102",
    "ICVGIP 2008, https://www.robots.ox.ac.uk/~vgg/data/flowers/102",
)
_register(
    "pets",
    FineGrainedOptions,
    "sets.pets:Pets",
    37,
    "Oxford-IIIT Pet, breeds of cats and dogs",
    "CVPR 2012, https://www.robots.ox.ac.uk/~vgg/data/pets",
)
_register(
    "cifar10", CIFAROptions, "sets.cifar:CIFAR10", 10, "CIFAR-10, 32 x 32 pixels", "https://www.cs.toronto.edu/~kriz"
)
_register(
    "cifar100",
    CIFAROptions,
    "sets.cifar:CIFAR100",
    100,
    "CIFAR-100, 32 x 32 pixels",
    "https://www.cs.toronto.edu/~kriz",
)
_register(
    "fashion_mnist",
    FashionMNISTOptions,
    "sets.fashion_mnist:FashionMNIST",
    10,
    "Fashion-MNIST, grey, 28 x 28 pixels",
    "arXiv 1708.07747, https://github.com/zalandoresearch/fashion-mnist",
)
_register(
    "dtd",
    DTDOptions,
    "sets.dtd:DTD",
    47,
    "Describable Textures, ten divisions",
    "CVPR 2014 (arXiv 1311.3618), https://www.robots.ox.ac.uk/~vgg/data/dtd",
)
_register(
    "elpv",
    ElpvOptions,
    "sets.elpv:Elpv",
    2,
    "solar cells, intact and defective; needs the extra elpv, images under CC-BY-NC-SA-4.0",
    "Deitsch et al., Solar Energy 2019 (arXiv 1807.02894)",
)
_register(
    "folder",
    FolderOptions,
    "sets.folder:Folder",
    None,
    "images of your own: train/CLASS/IMAGE with val/ or test/, or CLASS/IMAGE alone",
    "yours",
)
_register(
    "webdataset",
    WebDatasetOptions,
    "sets.webdataset:WebDataset",
    None,
    "shards, tar files that are streamed, for data of any size: data.urls; needs the extra webdataset",
    "yours",
)
register_dataset(
    DatasetInfo(
        "huggingface",
        HuggingFaceOptions,
        "datamodules.sets.huggingface:data_module",
        None,
        "of the library datasets (an extra): a folder of Parquet, Arrow or image files, or a name on the Hub",
        "yours, or https://huggingface.co/datasets",
    )
)
