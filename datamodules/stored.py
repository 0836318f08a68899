"""Images of a published dataset that are held in memory, because it has no file for each."""

from __future__ import annotations

from pathlib import Path

from torch import Tensor

from datamodules.records import Record, Records


class StoredImages:
    """Images by part and position, which take the place of files in the records: see `stored_records`.

    Args:
        pixels: uint8 (N, 3, H, W) of each part, or (N, 1, H, W) of grey images, whose channels become equal.
        records: which of them.
    """

    def __init__(self, pixels: dict[str, Tensor], records: Records) -> None:
        self.pixels = pixels
        self.records = records

    def __len__(self) -> int:
        return len(self.records)

    def __getitem__(self, position: int) -> tuple[Tensor, int]:
        record = self.records[position]
        part, number = record.path.parts
        return self.pixels[part][int(number)].expand(3, -1, -1), record.label


def stored_records(part: str, labels: list[int]) -> list[Record]:
    """The records of a part, in order; their paths are the part and the position in it."""
    return [Record(Path(part, str(position)), label) for position, label in enumerate(labels)]
