"""Where the files of a dataset are: extracted, in an archive, at a public address, or an error that says what to do."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

from datamodules.archives import check_md5, extract, one_process_at_a_time
from datamodules.download import download
from gcp.errors import DataError, few

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
        others: archives that will do as well.
        source: where to get it, for people.
    """

    markers: tuple[tuple[str, ...], ...]
    folder: str = ""
    archives: tuple[Archive, ...] = ()
    others: tuple[Archive, ...] = ()
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


def chosen_root(name: str, root: str | None, usual: Path | None = None, remedy: str | None = None) -> Path:
    """The folder of the dataset ``name``: ``data.root``, else ``$GCP_DATA/name``, else the ``usual`` place.

    Without a usual place ``$GCP_DATA/name`` need not exist, for files may be fetched to it.

    Raises DataError if nothing says where; it ends in the ``remedy``.
    """
    if root is not None:
        return Path(root).expanduser()
    parent = os.environ.get(VARIABLE)
    if parent:
        chosen = Path(parent).expanduser() / name
        if chosen.exists() or usual is None or not usual.exists():
            return chosen
    if usual is not None and usual.exists():
        return usual
    remedy = remedy or (
        f"set data.root to their folder, or the environment variable {VARIABLE} to a folder that holds {name}/"
    )
    raise DataError(f"dataset '{name}' needs its files: {remedy}")


def locate(root: Path, layout: Layout, fetch: bool) -> Path:
    """The folder that has the layout, after extracting or fetching what is needed.

    Args:
        root: where the user says it is: the folder itself, one that holds `Layout.folder`, or the archives.
        layout: what to look for.
        fetch: download what is not there (``data.download=true``).

    Raises:
        DataError: not there; says where it looked, what it expected and what to do.
    """
    try:
        found = _complete(root, layout)
        if found is None and (_present(root, layout) or (fetch and _may_fetch(root, layout))):
            with one_process_at_a_time(root):
                found = _complete(root, layout) or _prepared(root, layout, fetch)
    except OSError as error:
        raise DataError(
            f"the dataset in data.root={root} cannot be read or extracted ({error}); mend that, or extract it elsewhere"
        ) from None
    if found is None:
        raise DataError(_explanation(root, layout))
    return found


def _complete(root: Path, layout: Layout) -> Path | None:
    return next((folder for folder in _candidates(root, layout) if not layout.missing(folder)), None)


def _candidates(root: Path, layout: Layout) -> list[Path]:
    return [root, root / layout.folder] if layout.folder else [root]


def _present(root: Path, layout: Layout) -> tuple[Archive, ...]:
    """The archives in ``root``, if there are enough of them; empty: there are not."""
    for archives in (layout.archives, layout.others):
        if all((root / archive.file).exists() for archive in archives):
            return archives
    return ()


def _may_fetch(root: Path, layout: Layout) -> bool:
    """Whether to fetch the archives: not if the dataset lies nearby. DataError if they have no address."""
    if not layout.downloadable:
        raise DataError(
            f"no public address of this dataset is known to work{_by_hand(layout)}; leave out data.download"
        )
    return _nearby(root, layout) is None


def _prepared(root: Path, layout: Layout, fetch: bool) -> Path | None:
    present = _present(root, layout)
    if fetch and not present:
        present = layout.archives
        for archive in present:
            if not (root / archive.file).exists():
                download(archive.url or "", root / archive.file)
    for archive in present:
        if archive.md5 is not None:
            check_md5(root / archive.file, archive.md5)
        if archive.extracted:
            extract(root / archive.file, root)
    return _complete(root, layout)


def _explanation(root: Path, layout: Layout) -> str:
    nearby = _nearby(root, layout)
    if nearby is not None:
        return f"the dataset is not in data.root={root} but in {nearby}; set data.root={nearby}"
    for folder in _candidates(root, layout):
        if layout.begun(folder):
            missing = ", ".join(layout.missing(folder))
            again = (
                "delete what is there of it and run again" if _present(root, layout) else "restore it from the archive"
            )
            return f"{folder} is incomplete: it lacks {missing}; {again}"
    expected = " or ".join(", ".join(markers) for markers in layout.markers)
    found = "it does not exist" if not root.exists() else f"found {_listing(root)}"
    missing_archives = [archive.file for archive in layout.archives if not (root / archive.file).exists()]
    remedy = f"; put {' and '.join(missing_archives)} there{_by_hand(layout)}" if missing_archives else ""
    if layout.downloadable:
        remedy += ", or add data.download=true"
    return f"no dataset in data.root={root}: expected {expected}; {found}{remedy or _by_hand(layout)}"


def _nearby(root: Path, layout: Layout) -> Path | None:
    """The dataset one or two levels up or one level down."""
    if layout.markers == ANY:
        return None
    children = sorted(path for path in root.iterdir() if path.is_dir()) if root.is_dir() else []
    inside = [folder for child in children for folder in _candidates(child, layout)]
    return next((folder for folder in [*list(root.parents)[:2], *inside] if not layout.missing(folder)), None)


def _by_hand(layout: Layout) -> str:
    return f" (get it from {layout.source})" if layout.source else ""


def _listing(folder: Path) -> str:
    names = sorted(path.name for path in folder.iterdir()) if folder.is_dir() else ["a file"]
    return few(names) or "an empty folder"
