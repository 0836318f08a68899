"""From the options to the shards of each part and their indexes."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from datamodules.parts import PART_OF
from datamodules.shards.addresses import checked, ends_with, expanded, is_remote
from datamodules.shards.counting import count
from datamodules.shards.index import MAKE, PARTS, Index, file_name, read_index
from gcp.errors import DataError, few

OPTIONS = {"train": "data.urls", "val": "data.val_urls", "test": "data.test_urls"}
ENDINGS = (".tar", ".tgz", ".tar.gz", ".tar.bz2", ".tar.xz")


def find_parts(urls: Mapping[str, str | None], count_remote: bool = False) -> dict[str, Index]:
    """The shards of "train" and, where there are such, of "val" and "test".

    Each of ``urls`` may be a folder with indexes, an index (``.json``), or shards by a pattern. A folder, or an index
    of images to train on, says where the other parts are, unless they are given too. Shards without an index are
    counted.

    Args:
        urls: what was given for each part.
        count_remote: also those that are no files, which means to read all of them.

    Raises:
        DataError: nothing to train on, what cannot be found or read, remote shards without an index, or parts whose
            classes are not the same.
    """
    given = urls["train"]
    if given is None:
        raise DataError(f"dataset=webdataset needs its shards: set {OPTIONS['train']} to a folder, an index or shards")
    folder = Path(given).expanduser()
    if not is_remote(given) and folder.is_dir() and not (folder / file_name("train")).exists():
        places = {**_shards_in(folder), **{part: url for part, url in urls.items() if url and part != "train"}}
        found = {part: _part(place, part, count_remote) for part, place in places.items()}
    else:
        found = {"train": _part(given, "train", count_remote)}
        for part in PARTS[1:]:
            place = urls[part] or found["train"].parts.get(part)
            if place is not None:
                found[part] = _part(place, part, count_remote)
    _check_classes(found)
    return found


def _part(place: str | list[str], part: str, count_remote: bool) -> Index:
    option = OPTIONS[part]
    if isinstance(place, list):
        return count(place, part)
    if is_remote(place) and place.endswith("/"):
        place += file_name(part)
    elif not is_remote(place) and Path(place).expanduser().is_dir():
        place = str(Path(place) / file_name(part))
    if ends_with(place, ".json"):
        return read_index(checked(place, option), option)
    shards = expanded(place, option)
    missing = [url for url in shards if not is_remote(url) and not Path(url).is_file()]
    if missing:
        hint = "; shards are given with braces, {000..146}, not with *" if "*" in place else ""
        raise DataError(
            f"{len(missing)} of {len(shards)} shards of {option} are not there: {few(missing, 3)}{hint or '; mend it'}"
        )
    twice = sorted({url for url in shards if shards.count(url) > 1}) if len(set(shards)) < len(shards) else []
    if twice:
        raise DataError(f"{option} has {twice[0]} twice; leave one out")
    remote = [url for url in shards if is_remote(url)]
    if remote and not count_remote:
        raise DataError(
            f"how many images {few(remote, 1)} holds is not known without reading it, and {option} names no index; "
            f"{MAKE}"
        )
    return count(shards, part)


def _shards_in(folder: Path) -> dict[str, str | list[str]]:
    """The shards in a folder without an index, by the part their names say."""
    found: dict[str, str | list[str]] = {}
    unknown = []
    for path in sorted(path for path in folder.iterdir() if path.name.endswith(ENDINGS)):
        parts = {PART_OF[word] for word in re.split(r"[^a-z]+", path.name.lower()) if word in PART_OF}
        if len(parts) == 1:
            shards = found.setdefault(parts.pop(), [])
            assert isinstance(shards, list)
            shards.append(str(path))
        else:
            unknown.append(path.name)
    if unknown or "train" not in found:
        odd = f"{few(unknown, 3)}, whose names do not say of which part they are"
        what = odd if unknown else "no shards to train on"
        raise DataError(
            f"the folder {folder} has no {file_name('train')}, and {what}; set {OPTIONS['train']} and "
            f"{OPTIONS['test']} to shards, or {MAKE}"
        )
    return found


def _check_classes(found: dict[str, Index]) -> None:
    """Raise DataError unless all parts have the classes of the training part; give counted ones its names."""
    train = found["train"]
    empty = [name for name, images in zip(train.class_names, train.class_counts.tolist(), strict=True) if not images]
    if empty:
        raise DataError(
            f"{len(empty)} of {len(train.class_names)} classes have no training image: {few(empty)}; count labels from "
            "0 without gaps"
        )
    for part, index in found.items():
        if index.class_names == train.class_names:
            continue
        known, counted = len(train.class_names), len(index.class_names)
        if index.class_names != [str(label) for label in range(counted)] or counted > known:
            raise DataError(
                f"{OPTIONS[part]} has other classes ({few(index.class_names)}) than {OPTIONS['train']} "
                f"({few(train.class_names)}); give parts of one dataset"
            )
        counts = np.pad(index.class_counts, (0, known - counted))
        found[part] = dataclasses.replace(index, class_names=train.class_names, class_counts=counts)
    odd = [part for part, index in found.items() if index.finished != train.finished]
    if odd:
        raise DataError(
            f"{OPTIONS[odd[0]]} holds finished images and {OPTIONS['train']} other ones; give parts of one dataset"
        )
