"""The options of a composed configuration, checked before anything heavy is imported. Free of torch."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from hydra.conf import HydraConf
from omegaconf import DictConfig, OmegaConf

from conf.messages import unknown_option
from gcp.errors import OptionError
from gcp.options import option_names
from lightning_modules.run.normalisation import with_normalisation
from lightning_modules.settings.callbacks import completed
from lightning_modules.settings.section import make_section
from lightning_modules.settings.sections import ADDED, GROUPS, SECTIONS, WITHOUT_CHECKPOINT, RunOptions, sections


def check(config: DictConfig) -> dict[str, Any]:
    """The configuration as plain values, every option checked against its range, with the normalisation of its weights.

    Raises OptionError with the option's full name, ``method.degree``.
    """
    plain = OmegaConf.to_container(config, resolve=True)
    assert isinstance(plain, dict)
    for name in plain:
        if name not in sections() and name not in option_names(RunOptions):
            raise OptionError(unknown_option(str(name)))
    make_section(RunOptions, {name: plain[name] for name in option_names(RunOptions)}, "")
    if plain["mode"] == "report" and plain["path"] is None:
        raise OptionError("mode=report needs path: a folder that holds run directories")
    if plain["mode"] not in WITHOUT_CHECKPOINT and plain["ckpt_path"] is None:
        raise OptionError(f"mode={plain['mode']} needs ckpt_path: a checkpoint, a run directory, or last")
    if plain["mode"] == "shards":
        _check_shards(plain["shards"], plain["data"]["name"], plain["ckpt_path"])
    if plain["mode"] == "test" and plain["trainer"]["limit_test_batches"] == 0:
        raise OptionError("mode=test with trainer.limit_test_batches=0 tests nothing; leave that out")
    if plain["mode"] == "predict" and plain["data"]["path"] is None:
        raise OptionError("mode=predict needs data.path: an image, or a folder of images")
    for name in ("ckpt_classifier", "ckpt_schedule"):
        if plain[name] == "new" and (plain["mode"] != "fit" or plain["ckpt_path"] is None):
            raise OptionError(f"{name}=new is for mode=fit with a ckpt_path: leave out {name}=new, or give both")
    if plain["ckpt_classifier"] == plain["ckpt_schedule"] == "new":
        raise OptionError("ckpt_classifier=new starts a new training, ckpt_schedule=new goes on with one; choose one")
    for group, (section, registry) in GROUPS.items():
        values = dict(plain[section])
        entry = registry.get(values.pop("name"))
        if group in ADDED:
            added = {name: values.pop(name) for name in option_names(ADDED[group]) if name in values}
            make_section(ADDED[group], added, section)
        make_section(entry.options, values, section, refusal=unknown_option)
    plain["callbacks"] = completed(plain["callbacks"])
    for section, options in SECTIONS.items():
        if section != "callbacks":
            make_section(options, plain[section], section, refusal=unknown_option)
    return with_normalisation({str(name): value for name, value in plain.items()})


def _check_shards(shards: Mapping[str, Any], data: str, ckpt_path: str | None) -> None:
    if shards["folder"] is None:
        raise OptionError("mode=shards needs shards.folder: a new folder to write into")
    if ckpt_path is not None:
        raise OptionError("mode=shards writes a dataset, without a checkpoint; leave out ckpt_path")
    if shards["index_only"] and data != "webdataset":
        raise OptionError(
            f"shards.index_only=true is for shards that are there, dataset=webdataset, got dataset={data}"
        )


def check_no_sweep(config: DictConfig, hydra_config: HydraConf) -> None:
    """Raise OptionError for what a single run was given though it has a meaning in sweeps only."""
    launcher = hydra_config.runtime.choices.get("hydra/launcher")
    given = [text for text in hydra_config.overrides.hydra if text.startswith(("hydra.sweep.", "hydra.launcher."))]
    if launcher != "basic":
        name = hydra_config.runtime.choices.get("launcher")
        given.insert(0, f"launcher={launcher if name == 'basic' else name}")
    if OmegaConf.select(config, "sweep.resume") is True:
        given.insert(0, "sweep.resume=true")
    trials = OmegaConf.select(config, "search.trials")
    if trials is not None:
        given.insert(0, f"search.trials={trials}")
    if given:
        raise OptionError(f"{given[0]} is for sweeps: add -m or sweep=..., or leave it out")
