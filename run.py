"""Train and test covariance-pooling networks: ``python run.py --help``."""

from __future__ import annotations

import os
import sys

from lightning_modules.run.interruption import SIGNALS, Interrupted, obey_at_once

if __name__ == "__main__" or os.path.basename(sys.argv[0]) == "gcp-run":
    obey_at_once()  # the other imports take a second

import hydra
from hydra.core.hydra_config import HydraConfig
from hydra.types import RunMode
from omegaconf import DictConfig

from conf.arguments import readable
from conf.check_options import check, check_no_sweep
from conf.help import show
from conf.messages import message
from conf.new_directories import remove_new
from conf.overrides import command_of, plugins_in, values_of
from conf.schema import register
from conf.sweeper import register_sweeper
from gcp.errors import GCPError
from lightning_modules.run.command import carry_out
from lightning_modules.run.directory import shared_start
from lightning_modules.run.job import InterruptedRunError, as_interruption
from lightning_modules.run.parent import end_with_sweep
from lightning_modules.run.plugins import import_plugins
from lightning_modules.run.ranks import is_main_process
from lightning_modules.run.scheduler import queue_again
from lightning_modules.run.stored_choices import stored_choices
from lightning_modules.run.threads import spin_briefly


def main() -> None:
    """Entry point of ``python run.py`` and ``gcp-run``. Help and wrong options answer before torch is imported."""
    spin_briefly()
    os.environ["MPLBACKEND"] = "agg"  # pictures go to files; a notebook's or a broken one ends the import of Matplotlib
    full_error = os.environ.get("HYDRA_FULL_ERROR") == "1"
    os.environ["HYDRA_FULL_ERROR"] = "1"  # errors come here, where they become a sentence
    try:
        with SIGNALS.heard():
            import_plugins(plugins_in(sys.argv[1:]))  # before the names they register are looked up
            if {"--help", "-h"} & set(sys.argv[1:]):
                show([argument for argument in sys.argv[1:] if not argument.startswith(("-", "plugins="))])
                return
            sys.argv[1:] = readable(sys.argv[1:])
            sys.argv[1:] = readable([*sys.argv[1:], *stored_choices(values_of(sys.argv[1:]))])
            register()
            register_sweeper()
            with shared_start():
                _compose_and_run()
    except (Interrupted, Exception) as error:
        stop = as_interruption(error)  # before the run has begun, whose own end is `job`'s, or of a sweep
        if stop is not None:
            print(f"error: {stop}", file=sys.stderr)
            if is_main_process():
                queue_again(stop.signum)
            sys.exit(stop.exit_code)
        if full_error:
            raise
        sys.exit(f"error: {message(error)}")
    finally:
        remove_new()


@hydra.main(version_base="1.3", config_path="conf", config_name="config")
def _compose_and_run(config: DictConfig) -> None:
    hydra_config = HydraConfig.get()
    try:
        if hydra_config.mode == RunMode.RUN:
            check_no_sweep(config, hydra_config)
        elif "joblib" in str(hydra_config.launcher.get("_target_")):
            end_with_sweep()
        import_plugins(config.plugins)  # again, for launchers that run jobs in other processes
        carry_out(command_of(config, hydra_config), lambda: check(config))
    except GCPError as error:
        if hydra_config.mode == RunMode.MULTIRUN and not isinstance(error, InterruptedRunError):
            raise
        print(f"error: {error}", file=sys.stderr)
        raise SystemExit(error.exit_code if isinstance(error, InterruptedRunError) else 1) from None


if __name__ == "__main__":
    main()
