"""Lightning's own monitors, with our options. They write to the loggers and change nothing of the training."""

from __future__ import annotations

import warnings
from importlib.util import find_spec

from pytorch_lightning.callbacks import DeviceStatsMonitor, LearningRateMonitor, ThroughputMonitor

from gcp.errors import MissingDependencyError
from lightning_modules.run.spec import Run
from lightning_modules.settings.callback_options import CallbackOptions, DeviceStatsOptions, ThroughputOptions


def learning_rate(run: Run, options: CallbackOptions) -> LearningRateMonitor | None:
    """The learning rates of the parameter groups."""
    return LearningRateMonitor() if options.log_learning_rate else None


def device_stats(run: Run, options: DeviceStatsOptions) -> DeviceStatsMonitor:
    """Memory of the GPU; load and memory of the machine. Raises MissingDependencyError where these need psutil."""
    on_cpu = options.cpu_stats is None and run.config["trainer"]["accelerator"] == "cpu"
    if (options.cpu_stats or on_cpu) and find_spec("psutil") is None:
        raise MissingDependencyError(
            "callbacks.device_stats needs psutil for the load of the machine; install it with: "
            "pip install '.[monitor]', or set callbacks.device_stats.cpu_stats=false"
        )
    cpu_stats = False if options.cpu_stats is None and find_spec("psutil") is None else options.cpu_stats
    return DeviceStatsMonitor(cpu_stats)


def throughput(run: Run, options: ThroughputOptions) -> ThroughputMonitor:
    """Batches and images per second of every stage, over a window of batches."""
    warnings.filterwarnings("ignore", ".*need to define a `flops_per_batch`.*")  # rates alone are asked for
    return ThroughputMonitor(batch_size_fn=lambda batch: len(batch[0]), window_size=options.window_size)
