"""The configuration of a run that starts from a checkpoint: the one in it, and what the user asked for on top."""

from __future__ import annotations

import copy
from collections.abc import Iterable, Mapping
from typing import Any

from gcp.backbones.registry import BACKBONES
from gcp.errors import CheckpointError
from gcp.options import written

# Sections an override may not contradict: the network, and when training goes on also what the optimizer's state holds.
ORTHOGONAL = "training.orthogonal_weights"  # of the network: other parameters stand behind its weights
NETWORK = ("method", "backbone", "data.name", ORTHOGONAL)
TRAINING = ("optimizer", "schedule", "training", "seed")
AVERAGED = "callbacks.swa"  # likewise, for a run that has it: the weights of its checkpoints may be averaged ones
# Sections that are the new run's own.
OWN = (
    "mode",
    "ckpt_path",
    "ckpt_triangle",
    "ckpt_classifier",
    "ckpt_schedule",
    "plugins",
    "logger",
    "export",
    "shards",
    "sweep",
    "report",
    "search",
    "analysis",
    "path",
)
# What may be changed when training goes on without changing what comes of it, or is asked for to change just that.
FREE = (
    *OWN,
    "data.root",
    "data.urls",
    "data.val_urls",
    "data.test_urls",
    "data.download",
    "data.check",
    "data.num_workers",
    "data.pin_memory",
    "data.eval_batch_size",
    "callbacks.checkpoint_every_n_steps",
    "callbacks.spectrum_every_n_steps",
    "callbacks.smoothness_every_n_steps",
    "callbacks.progress_bar",
    "callbacks.log_learning_rate",
    "callbacks.confusion_matrix",
    "trainer.max_epochs",
    "trainer.requeue",
    "trainer.limit_test_batches",
    "trainer.log_every_n_steps",
    "second_stage.epochs",
)
# What the second of two stages has of its own, by the name it has in a run of one stage.
SECOND = {"trainer.max_epochs": "second_stage.epochs", "backbone.frozen": "second_stage.frozen"}
SHARDS = ("urls", "val_urls", "test_urls")
# When nothing is trained, what a checkpoint says of places, downloads and devices is not followed either: it may be
# someone else's, and says what the network and its preprocessing are.
PLACES = (
    *(f"data.{name}" for name in ("root", *SHARDS, "download", "path", "num_workers", "pin_memory")),
    *(f"trainer.{name}" for name in ("accelerator", "devices", "num_nodes", "strategy", "requeue")),
)
# What a new schedule may not change, for the optimizer's state would not fit, or the schedule's count.
RENEWABLE = ("optimizer.", "schedule.")
FIXED = ("optimizer.name", "optimizer.cls", "optimizer.decay_norm_and_bias", "optimizer.layer_decay")


def merge(config: Mapping[str, Any], stored: Mapping[str, Any], explicit: list[str], training: bool) -> dict[str, Any]:
    """The configuration in the checkpoint, with what the user asked for on top.

    Args:
        config: the configuration composed for this run.
        stored: the one in the checkpoint.
        explicit: dotted names the user set, ``trainer.max_epochs``; a section's name stands for all of it.
        training: whether training goes on, which also binds optimizer, schedule and seed.

    Raises:
        CheckpointError: an override contradicts the checkpoint; lists both values.
    """
    renewed = training and config.get("ckpt_schedule") == "new"
    clashes = changes(config, stored, _bound(config, stored, explicit, training, renewed))
    if clashes:
        remedy = "leave these out"
        if training and not renewed and any(clash.startswith(RENEWABLE) for clash in clashes):
            remedy += ", or go on with another learning rate or schedule by ckpt_schedule=new"
        raise CheckpointError(f"the checkpoint is of another run than asked for: {', '.join(clashes)}; {remedy}")
    merged: dict[str, Any] = copy.deepcopy(dict(stored))
    if renewed and value_at(config, "schedule.name") != value_at(stored, "schedule.name"):
        merged["schedule"] = copy.deepcopy(config["schedule"])
    if renewed and not changes(config, stored, [name for name in explicit if name.startswith(RENEWABLE)]):
        raise CheckpointError("ckpt_schedule=new needs what is new: give optimizer.lr=... or schedule=...")
    # The bits of weights depend on the threads, which go on as they were.
    places = [] if training else ["threads", *(name for name in PLACES if _has(stored, name))]
    for name in [*places, *explicit, *OWN]:
        *sections, key = name.split(".")
        target = merged
        for section in sections:
            target = target.setdefault(section, {})
        target[key] = copy.deepcopy(value_at(config, name))
    return without_pretrained(merged)


def with_network(config: Mapping[str, Any], stored: Mapping[str, Any], explicit: list[str]) -> dict[str, Any]:
    """``config`` with the stored network, to which a new classifier comes; what the user set by name stays.

    Args:
        config: the configuration composed for this run.
        stored: the one in the checkpoint.
        explicit: dotted names the user set.

    Raises:
        CheckpointError: the user asks for other weights than it has, orthogonal or not.
    """
    merged = copy.deepcopy(dict(config))
    for section in ("method", "backbone"):
        if config[section]["name"] != stored[section]["name"]:
            continue  # chosen by the user; whether the weights fit is seen when they are loaded
        kept = [name.removeprefix(f"{section}.") for name in explicit if name.startswith(f"{section}.")]
        merged[section] = {**stored[section], **{name: config[section].get(name) for name in kept}}
    taken = stored.get("data", {})
    if "mean" in merged["data"] and merged["data"]["mean"] is None:  # the network goes on seeing what it has seen
        merged["data"] = {**merged["data"], **{name: taken.get(name) for name in ("mean", "std")}}
    orthogonal = bool(value_at(stored, ORTHOGONAL))
    if ORTHOGONAL in explicit and value_at(config, ORTHOGONAL) != orthogonal:
        raise CheckpointError(f"the checkpoint's network has {ORTHOGONAL}={written(orthogonal)}; leave that out")
    merged["training"] = {**config.get("training", {}), "orthogonal_weights": orthogonal}
    return without_pretrained(merged)


def with_folder(
    config: Mapping[str, Any], stored: Mapping[str, Any], explicit: list[str], training: bool, fresh: bool
) -> dict[str, Any]:
    """``config`` with the network of a folder and, when nothing is trained, its images.

    Args:
        config: the configuration composed for this run.
        stored: that of the network and, if the folder says so, of its data.
        explicit: dotted names the user set.
        training: whether the network is trained anew.
        fresh: whether it gets a new classifier, for which the user may choose another method.

    Raises:
        CheckpointError: an override contradicts the folder; lists both values.
    """
    bound = () if fresh else ("method", "backbone", *(("data.name",) if "data" in stored and not training else ()))
    clashes = changes(config, stored, [name for name in explicit if is_in(name, bound)])
    if clashes:
        raise CheckpointError(f"the folder is of another network than asked for: {', '.join(clashes)}; leave these out")
    merged = with_network(config, stored, explicit)
    own = stored.get("data", {})
    if not training and own.get("name") == merged["data"]["name"]:
        taken = {
            name: value
            for name, value in own.items()
            if name in merged["data"] and f"data.{name}" not in (*explicit, *PLACES)
        }
        merged["data"] = {**merged["data"], **copy.deepcopy(taken)}
    return merged


def without_pretrained(config: dict[str, Any]) -> dict[str, Any]:
    """``config`` without pretrained weights, which a checkpoint's replace, but with the classifier they bring."""
    backbone = dict(config["backbone"])
    if backbone.get("weights") is None:
        return config
    if backbone.get("hidden") is None:
        backbone["hidden"] = list(BACKBONES.get(backbone["name"]).default_hidden(backbone["weights"]))
    return {**config, "backbone": {**backbone, "weights": None}}


def changes(config: Mapping[str, Any], stored: Mapping[str, Any], names: Iterable[str]) -> list[str]:
    """Those of the ``names`` that have another value, with both, as the command line takes them."""
    return [
        f"{name}={written(value_at(config, name))} (checkpoint: {written(value_at(stored, name))})"
        for name in names
        if value_at(config, name) != value_at(stored, name)
    ]


def is_in(name: str, sections: Iterable[str]) -> bool:
    """Whether ``sections`` hold the option ``name``, or are it."""
    return any(name == section or name.startswith(f"{section}.") for section in sections)


def value_at(config: Mapping[str, Any], name: str) -> Any:
    """The value of a dotted name; None where there is none."""
    value: Any = config
    for key in name.split("."):
        value = value.get(key) if isinstance(value, Mapping) else None
    return value


def _bound(
    config: Mapping[str, Any], stored: Mapping[str, Any], explicit: list[str], training: bool, renewed: bool
) -> list[str]:
    """Names of options that must be the checkpoint's: of those the user set, and of what a new schedule brings."""
    guards: tuple[str, ...] = NETWORK + TRAINING if training else NETWORK
    if training and value_at(stored, f"{AVERAGED}.enabled"):
        guards += (AVERAGED,)
    names = [name for name in explicit if is_in(name, guards)]
    if not renewed:
        return names
    names = [name for name in names if name in FIXED or not name.startswith(RENEWABLE)]
    steps = "schedule.warmup_steps"  # whether the schedule counts epochs or steps
    another = value_at(config, "schedule.name") != value_at(stored, "schedule.name") or steps in explicit
    return names + [steps] * (another and bool(value_at(config, steps)) != bool(value_at(stored, steps)))


def _has(config: Mapping[str, Any], name: str) -> bool:
    section, _, key = name.partition(".")
    return key in config.get(section, {})
