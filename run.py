"""Train and test covariance-pooling networks: ``python run.py --help``."""

from __future__ import annotations

import dataclasses
import os
import sys
from importlib import import_module
from pathlib import Path

import hydra
from hydra.core.hydra_config import HydraConfig
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.errors import HydraException
from hydra.types import RunMode
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from conf.arguments import readable
from conf.help import show
from conf.messages import sentence
from conf.new_directories import remove_new
from conf.options import check
from conf.overlays import names_set_by
from conf.schema import HERE, OVERLAYS, register
from conf.sweeper import register_sweeper, sweep_name
from datamodules.reading import dead_processes_named
from gcp.errors import GCPError, OptionError
from lightning_modules.run.directory import refuse_taken, shared_start
from lightning_modules.run.find_checkpoint import queued_again, requeued
from lightning_modules.run.interruption import from_ctrl_c
from lightning_modules.run.job import InterruptedRunError, job
from lightning_modules.run.parent import end_with_sweep
from lightning_modules.run.plugins import import_plugins
from lightning_modules.run.ranks import is_main_process
from lightning_modules.run.spec import Run
from lightning_modules.run.storage import storage_error
from lightning_modules.run.stored_choices import stored_choices
from lightning_modules.run.summary import ASKED, CONFIG
from lightning_modules.run.threads import spin_briefly, torch_threads
from lightning_modules.run.unexpected import described
from lightning_modules.settings.sections import GROUPS, SECTIONS

# torch, Lightning and what stands on them are imported when a job starts: help and wrong options answer at once.


def main() -> None:
    """Entry point of ``python run.py`` and ``gcp-run``."""
    spin_briefly()
    os.environ["MPLBACKEND"] = "agg"  # pictures go to files; a notebook's or a broken one ends the import of Matplotlib
    full_error = os.environ.get("HYDRA_FULL_ERROR") == "1"
    os.environ["HYDRA_FULL_ERROR"] = "1"  # errors come here, where they become a sentence
    try:
        load_plugins(sys.argv[1:])
        if {"--help", "-h"} & set(sys.argv[1:]):
            show([argument for argument in sys.argv[1:] if not argument.startswith(("-", "plugins="))])
            return
        sys.argv[1:] = readable(sys.argv[1:])
        sys.argv[1:] = readable([*sys.argv[1:], *stored_choices(sys.argv[1:])])
        register()
        register_sweeper()
        with shared_start():
            _compose_and_run()
    except (KeyboardInterrupt, Exception) as error:
        if from_ctrl_c(error):  # before the run has begun, whose own end is `job`'s
            print("error: interrupted before the run began; start again with the same command", file=sys.stderr)
            sys.exit(130)
        if full_error:
            raise
        if isinstance(error, (GCPError, HydraException, OmegaConfBaseException)):
            sys.exit(f"error: {sentence(error)}")
        problem = storage_error(error) or f"{described(error)}; HYDRA_FULL_ERROR=1 shows the trace"
        sys.exit(f"error: {problem}")
    finally:
        remove_new()


def load_plugins(arguments: list[str]) -> None:
    """Import the modules of ``plugins=[...]``, before the names they register are looked up."""
    texts = [argument.lstrip("+") for argument in arguments if argument.lstrip("+").startswith("plugins=")]
    for override in OverridesParser.create().parse_overrides(readable(texts)):
        import_plugins(override.value() or [])  # type: ignore[arg-type]


@hydra.main(version_base="1.3", config_path="conf", config_name="config")
def _compose_and_run(config: DictConfig) -> None:
    hydra_config = HydraConfig.get()
    try:
        if hydra_config.mode == RunMode.RUN:
            check_no_sweep(config, hydra_config)
        run_job(config, hydra_config)
    except GCPError as error:
        if hydra_config.mode == RunMode.MULTIRUN and not isinstance(error, InterruptedRunError):
            raise
        print(f"error: {error}", file=sys.stderr)
        raise SystemExit(error.exit_code if isinstance(error, InterruptedRunError) else 1) from None


def check_no_sweep(config: DictConfig, hydra_config: DictConfig) -> None:
    """Raise OptionError for what has a meaning in sweeps only."""
    launcher = hydra_config.runtime.choices.get("hydra/launcher")
    given = [text for text in hydra_config.overrides.hydra if text.startswith(("hydra.sweep.", "hydra.launcher."))]
    if launcher != "basic":
        name = hydra_config.runtime.choices.get("launcher")
        given.insert(0, f"launcher={launcher if name == 'basic' else name}")
    if OmegaConf.select(config, "sweep.resume") is True:
        given.insert(0, "sweep.resume=true")
    if given:
        raise OptionError(f"{given[0]} is for sweeps: add -m or sweep=..., or leave it out")


def run_job(config: DictConfig, hydra_config: DictConfig) -> None:
    """Check the configuration of one job, then do what its ``mode`` says, in its own directory."""
    if "joblib" in str(hydra_config.launcher.get("_target_")):
        end_with_sweep()
    import_plugins(config.plugins)  # again, for launchers that run jobs in other processes
    directory = Path(hydra_config.runtime.output_dir)
    facts = {"method": config.method.name, "backbone": config.backbone.name, "dataset": config.data.name}
    sweeps = hydra_config.mode == RunMode.MULTIRUN
    with job(directory, kept=sweeps, mode=config.mode, **facts, seed=config.seed) as summary, dead_processes_named():
        if not (directory / ASKED).exists():  # a run that goes on stays what it was asked for
            summary.note(ASKED, OmegaConf.to_yaml(hydra_config.overrides.task))
        plain = check(config)
        left = requeued(directory) if plain["mode"] == "fit" else None
        if left is not None:
            plain.update(ckpt_path=str(left), ckpt_triangle="upper", ckpt_classifier="load", ckpt_schedule="load")
        run = Run(directory, plain)
        if plain["ckpt_path"] is not None:
            run = restored(run, hydra_config)
            summary.update(method=run.method, backbone=run.backbone, dataset=run.dataset, seed=run.seed)
        if sweeps:
            run = dataclasses.replace(run, sweep=sweep_name(hydra_config.sweep.dir))
        elif is_main_process() and not queued_again():
            refuse_taken(run)
        if plain["mode"] == "fit" or (plain["mode"] != "report" and not (directory / CONFIG).exists()):
            summary.note(CONFIG, OmegaConf.to_yaml(OmegaConf.create(run.config)))
        if is_main_process():
            print(f"run directory {directory}", flush=True)  # first of all: where to look while it goes on
        with torch_threads(run.config["threads"]):
            import_module(f"lightning_modules.modes.{plain['mode']}").run(run, summary)


def restored(run: Run, hydra_config: DictConfig) -> Run:
    """The run as the checkpoint of ``ckpt_path`` has it, with the overrides of the command line on top."""
    from lightning_modules.run.restore import restore

    chosen = OverridesParser.create().parse_overrides(list(hydra_config.overrides.task))
    names = [name for override in chosen for name in _options_named(override.key_or_group, run, hydra_config)]
    named = any(text.startswith("hydra.run.dir=") for text in hydra_config.overrides.hydra)
    return restore(run, names, directory_given=named)


def _options_named(key: str, run: Run, hydra_config: DictConfig) -> list[str]:
    """Dotted names of the options an argument sets: ``method`` stands for its name, an overlay for what it holds."""
    if (
        key in SECTIONS and key not in OVERLAYS
    ):  # trainer=ddp: what any file of its group changes, so that trainer=default takes it back
        changes = sorted({file.stem for file in (HERE / key).glob("*.yaml")} - {"default"})
        return sorted({f"{key}.{name}" for file in changes for name in names_set_by(key, file)})
    if key not in OVERLAYS:
        return [f"{GROUPS[key][0]}.name"] if key in GROUPS else [key]
    chosen = hydra_config.runtime.choices.get(key)
    names = [] if chosen is None else names_set_by(key, chosen)
    # A recipe says how to train; beyond training, of overlays only the trainer's part counts (debug=fast).
    return names if run.config["mode"] == "fit" else [name for name in names if name.startswith("trainer.")]


if __name__ == "__main__":
    main()
