"""Finding the images of a part that cannot be read, before they are needed."""

from __future__ import annotations

from rich.progress import track
from torch.utils.data import Dataset

from datamodules.archives import CONSOLE
from datamodules.augmented import FileSource
from datamodules.decoding import ImageError
from datamodules.loader import ImageLoader, process_options

MANY = 1000  # images whose reading takes long enough to say so where there is no progress bar
AT_A_TIME = 32  # images a loading process reports together


class _Trial(Dataset[tuple[int, str]]):
    """Positions, each with the reason why its image cannot be read, "" if it can."""

    def __init__(self, source: FileSource) -> None:
        self.source = source

    def __len__(self) -> int:
        return len(self.source)

    def __getitem__(self, position: int) -> tuple[int, str]:
        try:
            self.source[position]
        except ImageError as error:
            return position, error.reason
        return position, ""


def unreadable(source: FileSource, processes: int, part: str) -> dict[int, str]:
    """Read every image of ``source`` with that many loading processes: the positions that fail, and why."""
    loader = ImageLoader(_Trial(source), AT_A_TIME, collate_fn=list, **process_options(processes))
    what = f"reading {len(source):,} {part} images"
    if not CONSOLE.is_terminal and len(source) >= MANY:
        CONSOLE.print(what)
    shown = track(loader, what, console=CONSOLE, transient=True, disable=not CONSOLE.is_terminal)
    return {position: reason for batch in shown for position, reason in batch if reason}
