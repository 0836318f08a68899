"""Where the files of a dataset are: extracted, in an archive, at a public address, or an error that says what to do."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from datamodules.archives import check_md5, extract
from datamodules.download import download
from gcp.errors import DataError

VARIABLE = "GCP_DATA"  # environment variable: the folder that holds a folder for each dataset


ANY = ((".",),)  # markers of a dataset that any folder may be


@dataclass(frozen=True)
class Archive:
    """A file a dataset is distributed as.

    Attributes:
        file: its name.
        md5: its published MD5 sum, where one is known.
        url: a public address that is known to work.
        extracted: false for a file that is used as it is.
    """

    file: str
    md5: str | None = None
    url: str | None = None
    extracted: bool = True


@dataclass(frozen=True)
class Layout:
    """The official layout of a dataset.

    Attributes:
        markers: files and folders that it has; several tuples are alternatives.
        folder: the folder at the top of its archive, which ``data.root`` may be or hold; "" for none.
        archives: what it is distributed as.
        source: where to get it, for people.
    """

    markers: tuple[tuple[str, ...], ...]
    folder: str = ""
    archives: tuple[Archive, ...] = ()
    source: str = ""

    @property
    def downloadable(self) -> bool:
        """Whether every archive has a public address."""
        return bool(self.archives) and all(archive.url for archive in self.archives)

    def missing(self, folder: Path) -> list[str]:
        """What ``folder`` lacks of the alternative it comes closest to; empty: nothing."""
        lacking = [[marker for marker in markers if not (folder / marker).exists()] for markers in self.markers]
        return min(zip(lacking, self.markers, strict=True), key=lambda pair: len(pair[0]) / len(pair[1]))[0]

    def begun(self, folder: Path) -> bool:
        """Whether ``folder`` has anything of the layout."""
        return any((folder / marker).exists() for markers in self.markers for marker in markers)


def chosen_root(name: str, root: str | None) -> Path:
    """The folder of the dataset ``name``: ``data.root``, else ``$GCP_DATA/name``; DataError if neither is set."""
    if root is not None:
        return Path(root).expanduser()
    parent = os.environ.get(VARIABLE)
    if not parent:
        raise DataError(
            f"dataset '{name}' needs its files: set data.root to their folder, or the environment variable {VARIABLE} "
            f"to a folder that holds {name}/"
        )
    return Path(parent).expanduser() / name


def locate(root: Path, layout: Layout, fetch: bool) -> Path:
    """The folder that has the layout, after extracting or fetching what is needed.

    Args:
        root: where the user says it is: the folder itself, one that holds `Layout.folder`, or the archives.
        layout: what to look for.
        fetch: download what is not there (``data.download=true``).

    Raises:
        DataError: not there; says where it looked, what it expected and what to do.
    """
    candidates = [root, root / layout.folder] if layout.folder else [root]
    for folder in candidates:
        if not layout.missing(folder):
            return folder
    if fetch and not layout.downloadable:
        by_hand = _by_hand(layout)
        raise DataError(f"no public address of this dataset is known to work{by_hand}; leave out data.download")
    if fetch:
        for archive in layout.archives:
            if not (root / archive.file).exists():
                download(archive.url or "", root / archive.file)
    if layout.archives and all((root / archive.file).exists() for archive in layout.archives):
        for archive in layout.archives:
            if archive.md5 is not None:
                check_md5(root / archive.file, archive.md5)
            if archive.extracted:
                extract(root / archive.file, root)
    for folder in candidates:
        if not layout.missing(folder):
            return folder
    raise DataError(_explanation(root, candidates, layout))


def _explanation(root: Path, candidates: list[Path], layout: Layout) -> str:
    for folder in _nearby(root, layout):
        if not layout.missing(folder):
            return f"the dataset is not in data.root={root} but in {folder}; set data.root={folder}"
    for folder in candidates:
        if layout.begun(folder):
            missing = ", ".join(layout.missing(folder))
            return f"{folder} is incomplete: it lacks {missing}; restore it from the archive"
    expected = " or ".join(", ".join(markers) for markers in layout.markers)
    found = "it does not exist" if not root.exists() else f"found {_listing(root)}"
    missing_archives = [archive.file for archive in layout.archives if not (root / archive.file).exists()]
    remedy = f"; put {' and '.join(missing_archives)} there{_by_hand(layout)}" if missing_archives else ""
    if layout.downloadable:
        remedy += ", or add data.download=true"
    return f"no dataset in data.root={root}: expected {expected}; {found}{remedy or _by_hand(layout)}"


def _nearby(root: Path, layout: Layout) -> Iterator[Path]:
    """One or two levels up, one level down."""
    if layout.markers == ANY:
        return
    yield from list(root.parents)[:2]
    if root.is_dir():
        for child in sorted(path for path in root.iterdir() if path.is_dir()):
            yield child
            if layout.folder:
                yield child / layout.folder


def _by_hand(layout: Layout) -> str:
    return f" (get it from {layout.source})" if layout.source else ""


def _listing(folder: Path) -> str:
    names = sorted(path.name for path in folder.iterdir()) if folder.is_dir() else ["a file"]
    return ", ".join(names[:5]) + (", ..." if len(names) > 5 else "") if names else "an empty folder"
