"""What shards without an index hold: each is read through once, in files the headers and the labels alone."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

import numpy as np
from rich.progress import track

from datamodules.archives import CONSOLE
from datamodules.shards.index import Index, Shard
from datamodules.shards.members import samples_in
from datamodules.shards.source import LABEL, label_of, picture_of
from gcp.errors import DataError


def count(urls: Sequence[str], part: str) -> Index:
    """The index of ``urls``, whose classes are called by their numbers.

    Raises DataError for a shard that cannot be read or is empty, or a sample without an image or a label.
    """
    what = f"counting the images of {len(urls)} {part} shards"
    if not CONSOLE.is_terminal:
        CONSOLE.print(what)
    shown = track(urls, what, console=CONSOLE, transient=True, disable=not CONSOLE.is_terminal)
    shards, labels = [], Counter[int]()
    for url in shown:
        images = 0
        for _, key, files in samples_in(url, lambda place: True, only=LABEL):
            name = f"{key} in {url}"
            picture_of(files, name)
            labels[label_of(files, name)] += 1
            images += 1
        if not images:
            raise DataError(f"the shard {url} holds no images; leave it out")
        shards.append(Shard(url, images))
    counts = np.array([labels[label] for label in range(max(labels) + 1)], dtype=np.int64)
    return Index(shards, [str(label) for label in range(len(counts))], counts)
