"""The index of the shards of a part: how many images each holds, what the classes are called.

It is a JSON file in the format of wids, webdataset's sister with random access: ``wids_version`` and a ``shardlist`` of
``url`` and ``nsamples``, addresses relative to the file. Beside them it says what a dataset must be
known by without reading it:

- ``part``: train, val or test;
- ``class_names``: the position is the label;
- ``class_counts``: number of images of each class in the part;
- ``parts``: the indexes of the other parts, so that naming the one to train on is enough;
- ``dataset``: what the shards were written from;
- ``transform``: that dataset's ``data.transform``, which applies to pictures unless another one is set;
- ``finished``: of images that are no pictures but arrays a network takes as they are: how they came to be so
  (`datamodules.preprocessing.Preprocessing`).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from datamodules.preprocessing import Preprocessing, read_preprocessing
from datamodules.shards.addresses import beside, read_json
from datamodules.transforms.names import TRANSFORMS
from gcp.errors import DataError
from gcp.options import check_type

VERSION = 1
PARTS = ("train", "val", "test")
MAKE = "write shards with an index by mode=shards, or an index of these by shards.index_only=true"


@dataclass(frozen=True)
class Shard:
    """A tar file of images.

    Attributes:
        url: the file, or its address.
        images: how many it holds.
    """

    url: str
    images: int


@dataclass(frozen=True)
class Index:
    """The shards of a part.

    Attributes:
        shards: in their order.
        class_names: names of the classes; the position is the label.
        class_counts: (K,) number of images of each class in this part.
        transform: name of the transform of the dataset that was written; None: not known.
        finished: how images that are not transformed any more came to be; None: they are pictures.
        dataset: name of the dataset that was written; None: not known.
        parts: where the indexes of other parts are.
    """

    shards: list[Shard]
    class_names: list[str]
    class_counts: np.ndarray
    transform: str | None = None
    finished: Preprocessing | None = None
    dataset: str | None = None
    parts: Mapping[str, str] = field(default_factory=dict)

    @property
    def images(self) -> int:
        """Number of images in all shards."""
        return sum(shard.images for shard in self.shards)

    def plain(self, part: str) -> dict[str, Any]:
        """As JSON has it, with the addresses as they are."""
        extra = {
            "dataset": self.dataset,
            "transform": self.transform,
            "finished": None if self.finished is None else self.finished.plain(),
        }
        return {
            "wids_version": VERSION,
            "name": part if self.dataset is None else f"{self.dataset}-{part}",
            "part": part,
            "shardlist": [{"url": shard.url, "nsamples": shard.images} for shard in self.shards],
            "class_names": self.class_names,
            "class_counts": self.class_counts.tolist(),
            **({"parts": dict(self.parts)} if self.parts else {}),
            **{key: value for key, value in extra.items() if value is not None},
        }


def file_name(part: str) -> str:
    """Name of the index of a part."""
    return f"{part}.json"


def read_index(place: str, option: str) -> Index:
    """The index at ``place``, a file or an address.

    Args:
        place: where it is.
        option: what names it, for messages.

    Raises:
        DataError: it cannot be read, or does not say what is needed.
    """
    contents = read_json(place)
    if not isinstance(contents, Mapping) or contents.get("wids_version") != VERSION:
        raise DataError(f"{place} is no index of shards (wids_version {VERSION}); {MAKE}")
    try:
        index = _index(contents, place, option)
    except (KeyError, TypeError, ValueError) as error:
        what = f"it lacks {error}" if isinstance(error, KeyError) else str(error).split("\n")[0]
        raise DataError(f"the index {place} does not say what is needed: {what}; {MAKE}") from None
    if int(index.class_counts.sum()) != index.images:
        raise DataError(
            f"the index {place} counts {int(index.class_counts.sum()):,} images by class and {index.images:,} by "
            "shard; mend it"
        )
    return index


def _index(contents: Mapping[str, Any], place: str, option: str) -> Index:
    listed = contents["shardlist"]
    check_type("shardlist", listed, list[dict[str, Any]])
    shards = []
    for each in listed:
        check_type("url", each["url"], str)
        check_type("nsamples", each["nsamples"], int)
        if each["nsamples"] < 1:
            raise ValueError(f"{each['url']} has nsamples {each['nsamples']}")
        shards.append(Shard(beside(place, each["url"], option), each["nsamples"]))
    if not shards:
        raise ValueError("its shardlist is empty")
    names, counts = contents["class_names"], contents["class_counts"]
    check_type("class_names", names, list[str])
    check_type("class_counts", counts, list[int])
    if len(names) != len(counts) or min(counts, default=0) < 0:
        raise ValueError(f"it has {len(names)} class_names and {len(counts)} class_counts from 0")
    transform, finished = contents.get("transform"), contents.get("finished")
    if transform is not None and transform not in TRANSFORMS:
        raise ValueError(f"its transform '{transform}' is none of {', '.join(TRANSFORMS.names())}")
    found = None
    if finished is not None:
        check_type("finished", finished, dict)
        found = read_preprocessing(finished, len(names))
        if found is None:
            raise ValueError("what it says of finished images is incomplete")
    parts = contents.get("parts", {})
    check_type("parts", parts, dict[str, Any])
    others = {part: beside(place, name, option) for part, name in parts.items() if part in PARTS[1:]}
    dataset = contents.get("dataset")
    return Index(shards, names, np.array(counts, dtype=np.int64), transform, found, dataset, others)
