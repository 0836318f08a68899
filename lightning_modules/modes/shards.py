"""``mode=shards``: the dataset as tar files with indexes, to be streamed by ``dataset=webdataset``."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from pathlib import Path

from rich.console import Console
from rich.filesize import decimal
from rich.table import Table

from datamodules.shards.addresses import is_remote
from datamodules.shards.finding import find_parts
from datamodules.shards.index import Index, Shard, file_name
from datamodules.shards.library import webdataset
from datamodules.shards.writing import Part, new_folder, refuse_taken, write_indexes, write_shards
from gcp.options import make_options
from lightning_modules.modes.building import build_data
from lightning_modules.run.ranks import is_main_process
from lightning_modules.run.spec import Run
from lightning_modules.run.summary import Summary
from lightning_modules.settings.modes import ShardsOptions


def run(run: Run, summary: Summary) -> None:
    """Write ``shards.folder``, whole or not at all; of several processes the first one does.

    Raises:
        DataError: something is in the folder, or the dataset holds what shards cannot.
        MissingDependencyError: webdataset is not installed.
    """
    if not is_main_process():
        return
    options = make_options(ShardsOptions, run.config["shards"], "section 'shards'")
    folder = Path(str(options.folder)).expanduser()
    refuse_taken(folder)
    webdataset("writer")
    if options.index_only:
        parts = _write_indexes(run, folder, summary)
    else:
        data = build_data(run)
        summary.begin()
        parts = write_shards(data, run.dataset, folder, options.images, options.seed, options.verify)
    counts = {f"shards/{part.name}": part.shards.images for part in parts}
    summary.update(**{"shards/folder": str(folder), **counts})
    _show(run, parts, folder)


def _write_indexes(run: Run, folder: Path, summary: Summary) -> list[Part]:
    data = run.config["data"]
    urls = {"train": data["urls"], "val": data["val_urls"], "test": data["test_urls"]}
    found = find_parts(urls, count_remote=True)
    summary.begin()
    with new_folder(folder) as partial:
        indexes = {part: _with_full_addresses(index) for part, index in found.items()}
        others = {part: file_name(part) for part in found if part != "train"}
        indexes["train"] = dataclasses.replace(indexes["train"], parts=others)
        write_indexes(indexes, partial)
    return [Part(part, index, None) for part, index in indexes.items()]


def _with_full_addresses(index: Index) -> Index:
    shards = [
        each if is_remote(each.url) else Shard(str(Path(each.url).absolute()), each.images) for each in index.shards
    ]
    return dataclasses.replace(index, shards=shards, parts={})


def _show(run: Run, parts: Sequence[Part], folder: Path) -> None:
    """What was written, what becomes of it, and the command that trains on it."""
    table = Table(title=f"shards of {run.dataset}", title_justify="left", show_header=False, box=None)
    for part in parts:
        size = "" if part.size is None else decimal(part.size)
        table.add_row(part.name, f"{part.shards.images:,} images", f"{len(part.shards.shards):,} shards", size)
    console = Console()
    console.print(table, highlight=False)
    train = parts[0].shards
    if train.finished is not None:
        way = "finished images, float32, which are not transformed any more"
    else:
        way = f"image files as they are; data.transform={train.transform or 'imagenet224'} is for when they are read"
    console.print(f"holding               {way}", highlight=False, soft_wrap=True)
    command = f"python run.py dataset=webdataset data.urls={folder}"
    console.print(f"train on them         {command}", highlight=False, soft_wrap=True)
