"""What is known of a published dataset, and whether the copy that was found is complete."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from datamodules.archives import check_md5
from datamodules.location import Layout
from datamodules.records import Records
from gcp.errors import DataError

REMEDY = "restore the lists from the archive, or add data.check=off if it is a subset on purpose"


@dataclass(frozen=True)
class Official:
    """Numbers of classes, and of images for training, testing and validation, as published."""

    classes: int
    train: int
    test: int
    val: int = 0


def check_lists(root: Path, layout: Layout) -> None:
    """Raise DataError unless the lists that are distributed as single files have their published MD5 sums."""
    sums = {archive.file: archive.md5 for archive in layout.archives if archive.md5 and not archive.extracted}
    for marker in sorted({marker for markers in layout.markers for marker in markers}):
        name = Path(marker).name
        if name in sums and (root / marker).exists():
            check_md5(root / marker, sums[name])


def check_counts(name: str, official: Official, class_names: list[str], parts: dict[str, Records]) -> None:
    """Raise DataError for other numbers of classes or images than were published."""
    images = {"training": official.train, "test": official.test, "validation": official.val}
    expected = {"classes": official.classes, **{f"{part} images": images[part] for part in parts}}
    found = {"classes": len(class_names), **{f"{part} images": len(records) for part, records in parts.items()}}
    wrong = [
        f"{found[what]:,} {what} in place of {number:,}" for what, number in expected.items() if found[what] != number
    ]
    if wrong:
        raise DataError(f"this is not '{name}' as it was published: {', '.join(wrong)}; {REMEDY}")


def check_names(class_names: list[str], parts: dict[str, Records], class_in: Callable[[str], str | None]) -> None:
    """Raise DataError where an image's label and the class its file name says (None: nothing) are not the same."""
    wrong = [
        (path, said, class_names[label])
        for records in parts.values()
        for path, label in zip(records.paths(), records.labels.tolist(), strict=True)
        if (said := class_in(path)) not in (None, class_names[label])
    ]
    if wrong:
        path, said, listed = wrong[0]
        raise DataError(
            f"file names and labels disagree about {len(wrong):,} images, first {path}, by its name '{said}', by its "
            f"label '{listed}'; {REMEDY}"
        )
    twice = sorted({name for name in class_names if class_names.count(name) > 1})
    if twice:
        raise DataError(f"several classes have the name '{twice[0]}'; {REMEDY}")
