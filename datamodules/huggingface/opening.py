"""Opening a dataset: what ``save_to_disk`` wrote, a folder of Parquet, Arrow or image files, or a name on the Hub."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from types import ModuleType
from typing import Any

from datamodules.huggingface.library import library, quiet, reading, reason_of
from datamodules.location import chosen_root
from datamodules.options import HuggingFaceOptions
from datamodules.trees import entries
from gcp.errors import DataError, few
from gcp.hub.remote import is_repository, unreachable
from gcp.registry import nearest

SAVED, SAVED_SPLITS = "state.json", "dataset_dict.json"  # what `save_to_disk` leaves: one split, several
KINDS = ("parquet", "arrow", "imagefolder", "webdataset", "cache")  # of readers in the library; cache: the local copy
DESCRIBING = (".md", ".yaml", ".json", ".txt", ".lock")  # endings of files that hold no images


@dataclass
class Opened:
    """A dataset as the library gives it.

    Attributes:
        splits: what it holds, by the names of the splits: ``datasets.Dataset``, or ``IterableDataset`` of a stream.
        notes: what is to be said about it: files that are not read, a copy that may be old.
        files: the files each split is read from, where it is read from files.
    """

    splits: dict[str, Any]
    notes: list[str] = field(default_factory=list)
    files: dict[str, list[str]] = field(default_factory=dict)


def root_of(options: HuggingFaceOptions) -> str:
    """What ``data.root`` or the environment says. Raises DataError if neither does."""
    remedy = "set data.root to its folder, or to OWNER/NAME of one on the Hub"
    return str(chosen_root("huggingface", options.root, remedy=remedy))


def open_dataset(root: str, subset: str | None, revision: str | None, streaming: bool = False) -> Opened:
    """Open what ``data.root`` names.

    Args:
        root: a folder, or "OWNER/NAME" of a dataset on the Hub, which is fetched, or taken as it is in the cache of the
            library where the Hub is out of reach.
        subset: the configuration; None: the only one, or the one that is marked as usual.
        revision: of the repository on the Hub; None: the newest.
        streaming: read rows as they come instead of preparing a table of them.

    Raises:
        DataError: it is not there, out of reach, or cannot be read.
    """
    folder = Path(root).expanduser()
    if folder.is_dir():
        if revision is not None:
            raise DataError(f"data.revision={revision} is for datasets on the Hub, and data.root={root} is a folder")
        saved = any((folder / name).is_file() for name in (SAVED, SAVED_SPLITS))
        return _saved(folder, subset) if saved else _files(folder, subset, streaming)
    if folder.exists():
        raise DataError(f"data.root={root} is a file; give the folder it lies in")
    if not is_repository(root):
        raise DataError(
            f"data.root={root} is no folder{_neighbour(folder)}, and a dataset on the Hub is called OWNER/NAME; mend "
            "data.root"
        )
    return _from_hub(root, subset, revision, streaming)


def _saved(folder: Path, subset: str | None) -> Opened:
    """What ``save_to_disk`` wrote, as a map of the files in memory."""
    if subset is not None:
        raise DataError(f"data.subset={subset} is for files with a description; {folder} was saved by save_to_disk")
    with reading(f"data.root={folder}", "save it again") as package:
        found = package.load_from_disk(str(folder.resolve()), keep_in_memory=False)
        splits = dict(found) if isinstance(found, dict) else {str(found.split or "train"): found}
        if not splits:
            raise DataError(f"{folder} holds no splits; save the dataset again")
        return Opened({name: split.with_format(None) for name, split in splits.items()})


def _files(folder: Path, subset: str | None, streaming: bool) -> Opened:
    inside = [entry.path for entry in entries(folder) if entry.is_dir()]
    nearby = [path for path in inside if any((Path(path) / name).is_file() for name in (SAVED, SAVED_SPLITS))]
    if nearby:  # the library would take their files for parts of one table
        raise DataError(
            f"{folder} holds folders that save_to_disk wrote ({few([Path(each).name for each in nearby])}); give one "
            f"of them, as data.root={nearby[0]}, or save all as one DatasetDict"
        )
    with reading(f"data.root={folder}", "mend the files, or name others") as package:
        # By its whole path: the library takes names such as "parquet" for what reads such files.
        opened = _built(package, str(folder.resolve()), subset, None, streaming)
    root = folder.resolve()
    read = {file for files in opened.files.values() for file in files}
    passed = [path for path in _data_files(root) if path not in read] if subset is None else []
    if passed:  # it goes by the names of some files, and passes over the others
        names = few([os.path.relpath(path, root) for path in passed], 3)
        opened.notes.append(f"{len(passed)} files are not read: {names}")
    return opened


def _from_hub(name: str, subset: str | None, revision: str | None, streaming: bool) -> Opened:
    package = library()
    import huggingface_hub  # what datasets itself goes by

    failure = unreachable(huggingface_hub)
    if failure is None:
        with reading(f"the dataset {name} on the Hub", "mend data.root, data.subset or data.revision"):
            return _built(package, name, subset, revision, streaming)
    beginning = f"data.root={name} is no folder, and the Hub, where it may be one, is out of reach ({failure})"
    if streaming:
        raise DataError(f"{beginning}; connect this machine, or give a folder")
    try:
        with quiet(), _offline(package):
            opened = _built(package, name, subset, revision, streaming)
    except Exception as error:  # whatever it is, it is not in the cache
        reason = "" if isinstance(error, ConnectionError) else f" ({reason_of(error)})"
        raise DataError(
            f"{beginning}; nor does the cache {package.config.HF_DATASETS_CACHE} have it{reason}: connect this "
            "machine, or give a folder"
        ) from None
    opened.notes.append(f"the Hub is out of reach ({failure})")
    return opened


@contextmanager
def _offline(package: ModuleType) -> Iterator[None]:
    """The library goes to its cache at once; it would try for half a minute."""
    before = package.config.HF_HUB_OFFLINE
    package.config.HF_HUB_OFFLINE = True
    try:
        yield
    finally:
        package.config.HF_HUB_OFFLINE = before


def _built(package: ModuleType, path: str, subset: str | None, revision: str | None, streaming: bool) -> Opened:
    """Its splits, prepared as tables in the library's cache, or as streams."""
    builder = _builder(package, path, subset, revision)
    kind = type(builder).__module__.rpartition(".")[2]
    if kind not in KINDS:
        raise DataError(
            f"{path} holds files of the kind {kind}; images are read from Parquet, Arrow and image files, or what "
            "save_to_disk wrote"
        )
    if kind == "cache" and revision is not None and builder.hash != revision:
        raise DataError(f"the copy in the cache is of the revision {builder.hash}, not {revision}")
    if streaming:
        splits = builder.as_streaming_dataset()
    else:
        builder.download_and_prepare()
        splits = builder.as_dataset(in_memory=False)
    files = {str(name): list(map(str, files)) for name, files in (builder.config.data_files or {}).items()}
    notes = ["the newest copy in the library's cache, not from the Hub"] if kind == "cache" else []
    return Opened({str(name): split for name, split in splits.items()}, notes, files)


def _builder(package: ModuleType, path: str, subset: str | None, revision: str | None) -> Any:
    """What the library reads it with. Raises DataError, which names them, if its configuration is not to be told."""
    try:
        return package.load_dataset_builder(path, subset, revision=revision)
    except ValueError:
        names = package.get_dataset_config_names(path, revision=revision)
        if subset is None and len(names) > 1:
            raise DataError(f"{path} has the configurations {few(names, 8)}; choose one with data.subset") from None
        if subset is not None and subset not in names:
            raise DataError(
                f"data.subset={subset} is no configuration of {path}{nearest(subset, names)}; it has {few(names, 8)}"
            ) from None
        raise


def _data_files(folder: Path) -> Iterator[str]:
    """The files in ``folder`` and below that are neither hidden nor descriptions, without those of links to folders."""
    for place, folders, files in os.walk(folder):
        folders[:] = sorted(name for name in folders if not name.startswith((".", "__")))
        for name in sorted(files):
            if not name.startswith(".") and not name.lower().endswith(DESCRIBING):
                yield os.path.join(place, name)


def _neighbour(folder: Path) -> str:
    """A hint at the folder beside it that is called almost so."""
    names = [each.name for each in folder.parent.iterdir() if each.is_dir()] if folder.parent.is_dir() else []
    return nearest(folder.name, names)
