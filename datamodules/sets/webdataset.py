"""Shards of images, tar files of the library webdataset, which are streamed."""

from __future__ import annotations

from dataclasses import fields

from torch import Tensor

from datamodules.options import WebDatasetOptions
from datamodules.preprocessing import Preprocessing
from datamodules.shards.finding import OPTIONS, find_parts
from datamodules.shards.index import Index
from datamodules.shards.members import REMEDY
from datamodules.shards.source import ShardSource
from datamodules.stream_module import StreamDataModule, Streams
from datamodules.transforms.building import Transform
from gcp.errors import DataError
from gcp.options import default_of, written

# What becomes of pictures, which images that are finished are not.
OF_PICTURES = ("transform", "mean", "std", "protocol", "decode_backend")


class WebDatasetDataModule(StreamDataModule):
    """Shards with an index, or local ones that are counted first.

    Samples have an image and a ``.cls`` with the number of its class. What the shards hold is pictures, which are
    transformed as those of a folder are, or (where the index says so) images that are finished.
    """

    options: WebDatasetOptions
    remedy = REMEDY

    def open(self) -> Streams:
        """Find shards and indexes."""
        options = self.options
        self._found = found = find_parts({"train": options.urls, "val": options.val_urls, "test": options.test_urls})
        test = found.get("test") or found.get("val")
        if test is None:
            raise DataError(f"there are no images to test on; set {OPTIONS['test']} or {OPTIONS['val']} to shards")
        self._refuse_options_of_pictures()
        train, val = found["train"], found.get("val")
        return Streams(
            train.class_names,
            self._source(train),
            self._source(test),
            self._source(val) if val is not None and val is not test else None,
            train.class_counts,
        )

    def describe(self) -> str:
        """Classes and sizes, and in how many shards the training images are."""
        train = self._found["train"]
        parts = [super().describe(), f"{len(train.shards):,} training shards"]
        return "; ".join([*parts, f"transform {self.transform_name}"] if train.finished is None else parts)

    @property
    def transform_name(self) -> str:
        """The option's, or else that of the dataset the shards were written from, or else ImageNet's."""
        return self.options.transform or self._train.transform or "imagenet224"

    @property
    def image_size(self) -> int:
        """The option's, or else the transform's own; of finished images theirs."""
        finished = self.finished
        return super().image_size if finished is None else finished.image_size

    @property
    def varies(self) -> bool:
        """Whether the transform is random."""
        return self.finished is None and super().varies

    @property
    def preprocessing(self) -> Preprocessing:
        """The transform of the test part, one view; of finished images what made them so."""
        return self.finished or super().preprocessing

    def transform(self, part: str) -> Transform:
        """What happens to the pictures of a part; nothing to finished images."""
        return super().transform(part) if self.finished is None else _unchanged

    @property
    def finished(self) -> Preprocessing | None:
        """What made the images finished; None: they are pictures."""
        return self._train.finished

    @property
    def _train(self) -> Index:
        if not hasattr(self, "_found"):
            raise DataError(f"{type(self).__name__} has opened no streams yet; call setup() first")
        return self._found["train"]

    def _source(self, index: Index) -> ShardSource:
        return ShardSource(index, self.options.seed)

    def _refuse_options_of_pictures(self) -> None:
        finished = self.finished
        if finished is None:
            return
        usual = {field.name: default_of(field) for field in fields(self.options)}
        given = [name for name in OF_PICTURES if getattr(self.options, name) != usual[name]]
        given += ["image_size"] if self.options.image_size not in (None, finished.image_size) else []
        if given:
            value = written(getattr(self.options, given[0]))
            whose = " (which backbone.weights may bring)" if given[0] == "mean" else ""
            raise DataError(
                f"the shards hold finished images of {finished.image_size} x {finished.image_size}, which "
                f"data.{given[0]}={value}{whose} cannot be applied to; leave it out, or write shards of pictures"
            )


def _unchanged(image: Tensor) -> Tensor:
    return image
