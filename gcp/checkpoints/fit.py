"""Does a checkpoint fit a network? What is missing, left over or of another shape, part by part, and why."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass

from torch import Tensor

from gcp.errors import CheckpointError, few

# Parts of a network by the beginning of their keys.
PARTS = {
    "backbone": "features.",
    "channel reduction": "representation.reduction.",
    "pooling": "representation.",
    "classifier": "classifier.",
}
OTHER = "other"
SHOWN = 3
Shapes = Mapping[str, tuple[int, ...]]


@dataclass(frozen=True)
class Mismatch:
    """What does not fit in one part of the network.

    Attributes:
        part: one of PARTS, or OTHER.
        missing: keys only the network has.
        unexpected: keys only the file has.
        reshaped: key, shape in the file and shape in the network.
    """

    part: str
    missing: tuple[str, ...]
    unexpected: tuple[str, ...]
    reshaped: tuple[tuple[str, tuple[int, ...], tuple[int, ...]], ...]

    def __str__(self) -> str:
        lists: dict[str, Iterable[str]] = {
            "missing in the file": self.missing,
            "not in the network": self.unexpected,
            "of another shape": (f"{key} {file} instead of {network}" for key, file, network in self.reshaped),
        }
        found = {what: list(keys) for what, keys in lists.items()}
        return f"{self.part}: " + "; ".join(
            f"{len(keys)} {what} ({few(keys, SHOWN)})" for what, keys in found.items() if keys
        )


def check_fit(path: str, state: Mapping[str, Tensor], network: Mapping[str, Tensor], architecture: str | None) -> None:
    """Raise CheckpointError, grouped by part and explained, unless ``state`` has the keys and shapes of ``network``.

    Another backbone makes the parts behind it differ too, so only the first part with a known reason is explained.
    Batch-norm counters may be missing: files from before torch 0.4.1 do not have them.

    Args:
        path: the file, for the message.
        state: its tensors under our keys.
        network: the network's.
        architecture: what the file calls its network.
    """
    file_shapes = {key: tuple(value.shape) for key, value in state.items()}
    mismatches = find_mismatches(file_shapes, {key: tuple(value.shape) for key, value in network.items()})
    if not mismatches:
        return
    says = "" if architecture is None else f" (the file says arch={architecture})"
    reason = next((reason for reason in map(explain, mismatches) if reason), "")
    lines = [f"{path} does not fit this network{says}; nothing was loaded", *map(str, mismatches), reason]
    raise CheckpointError("\n  ".join(line for line in lines if line))


def find_mismatches(file: Shapes, network: Shapes) -> list[Mismatch]:
    """One Mismatch for each part in which the two differ."""
    found = []
    for part in [*PARTS, OTHER]:
        missing = tuple(
            key for key in network if part_of(key) == part and key not in file and not key.endswith("batches_tracked")
        )
        unexpected = tuple(key for key in file if part_of(key) == part and key not in network)
        reshaped = tuple(
            (key, file[key], network[key])
            for key in network
            if part_of(key) == part and key in file and file[key] != network[key]
        )
        if missing or unexpected or reshaped:
            found.append(Mismatch(part, missing, unexpected, reshaped))
    return found


def part_of(key: str) -> str:
    """The part of the network a key belongs to."""
    return next((part for part, prefix in PARTS.items() if key.startswith(prefix)), OTHER)


def explain(mismatch: Mismatch) -> str | None:
    """The likely reason and its remedy, if there is one."""
    reason = _REASONS.get(mismatch.part)
    return reason(mismatch) if reason else None


def _backbone(mismatch: Mismatch) -> str:
    return "the file is of another backbone: choose the one it was trained with"


def _reduction(mismatch: Mismatch) -> str:
    if mismatch.reshaped:
        _, file, network = mismatch.reshaped[0]
        if file[:1] == network[:1]:
            return "the file's backbone gives another number of channels: choose the one it was trained with"
        return f"the file's network reduces to another number of channels: set reduced_channels={file[0]}"
    if mismatch.missing:
        return (
            "the file's network has no channel reduction: it pools another way, or set reduced_channels to None "
            "(null on the command line)"
        )
    return "this network has no channel reduction, the file's has: set reduced_channels to what it was trained with"


def _classifier(mismatch: Mismatch) -> str | None:
    if mismatch.missing or mismatch.unexpected:
        return "the classifiers differ in their hidden layers: set hidden (backbone.hidden on the command line)"
    shapes = [(file, network) for key, file, network in mismatch.reshaped if key.endswith("weight")]
    if any(file[1:] != network[1:] for file, network in shapes):
        return "the file's classifier reads another vector: method, reduced_channels or hidden differ"
    (classes, *_), (own, *_) = mismatch.reshaped[-1][1:]
    return (
        f"the file is of {classes} classes, this network of {own}: to train a new classifier on top of the rest, "
        "load with classifier='new' (ckpt_classifier=new on the command line)"
    )


_REASONS: dict[str, Callable[[Mismatch], str | None]] = {
    "backbone": _backbone,
    "channel reduction": _reduction,
    "classifier": _classifier,
}
