"""Options that a command sets and that its mode makes no use of: said, not refused. Free of torch."""

from __future__ import annotations

from collections.abc import Iterable

from lightning_modules.settings.sections import GROUPS, WITHOUT_CHECKPOINT

TRAINING = ("optimizer", "schedule", "switch", "second_stage")  # the analysis trains too, by an optimizer alone
RUN = (*TRAINING, "training", "trainer", "logger")
# Mode to the sections that mean nothing to it. Nobody is told of `callbacks`, whose progress_bar is for every mode.
UNUSED = {
    "fit": ("export", "analysis", "shards"),
    "test": (*TRAINING, "export", "analysis", "shards"),
    "predict": (*TRAINING, "training", "export", "analysis", "shards", "report"),
    "export": (*RUN, "analysis", "shards", "report"),
    "report": (*RUN, "method", "backbone", "data", "export", "analysis", "shards"),
    "analyze": (*TRAINING[1:], "training", "trainer", "logger", "method", "export", "shards", "report"),
    "shards": (*RUN, "method", "backbone", "export", "analysis", "report"),
}
OWN = {"export": "export", "analysis": "analyze", "shards": "shards"}
"""Section to the mode whose own it is."""


def without_effect(mode: str, arguments: Iterable[str]) -> str | None:
    """A sentence that names the options in ``arguments`` that ``mode`` makes no use of; None: there are none.

    What a recipe sets is not named: it says how to train, and is given to other modes for the network. Nor are names
    of groups in modes that start from a checkpoint, whose run's own are added to the arguments.

    >>> without_effect("export", ["method=pade", "optimizer.lr=1", "dataset=digits"])
    'mode=export makes no use of optimizer.lr'
    >>> without_effect("fit", ["export.format=onnx"])
    'mode=fit makes no use of export.format: add mode=export'
    """
    names = [argument.lstrip("+~").partition("=")[0] for argument in arguments]
    if mode not in WITHOUT_CHECKPOINT:
        names = [name for name in names if name not in GROUPS]
    found = {name: section for name in names if (section := _section(name)) in UNUSED[mode]}
    if not found:
        return None
    meant = {OWN.get(section) for section in found.values()}
    remedy = f": add mode={meant.pop()}" if mode == "fit" and len(meant) == 1 else ""
    return f"mode={mode} makes no use of {', '.join(found)}{remedy}"


def _section(name: str) -> str:
    group = name.partition("@")[0].partition(".")[0]
    return GROUPS[group][0] if group in GROUPS else group
