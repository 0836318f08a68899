"""Options of what happens around the training loop: of the section callbacks and of each. Free of torch."""

from __future__ import annotations

from dataclasses import dataclass

from gcp.options import Options, option
from lightning_modules.metric_names import LOSS, MONITORED, MONITORED_BALANCED, VAL_ACCURACY

MONITORS = (*MONITORED, *MONITORED_BALANCED)


@dataclass(frozen=True)
class CallbackOptions(Options):
    """What happens around the training loop."""

    monitor: str = option(VAL_ACCURACY, "metric that decides which checkpoint is best", choices=MONITORS)
    monitor_mode: str | None = option(
        None, "whether more or less of it is better; null: less of a loss, more of an accuracy", choices=("max", "min")
    )
    checkpoint_every_n_steps: int | None = option(
        None, "optimizer steps between two last.ckpt inside an epoch; null: one after each epoch", minimum=1
    )
    spectrum_every_n_steps: int | None = option(
        50,
        "steps between two measurements of the pooling layer's spectrum and gradients; null: off",
        minimum=1,
    )
    smoothness_every_n_steps: int | None = option(
        None, "the same for the beta-smoothness of the convolution before it, five passes each; null: off", minimum=1
    )
    progress_bar: bool = option(
        True, "rich progress bars, where there is a terminal; a line for each epoch is printed anyway"
    )
    log_learning_rate: bool = option(True, "write the learning rates to the loggers")
    confusion_matrix: bool = option(
        False,
        "after the test: per_class.csv, confusion_matrix.csv and confusion_matrix.png in the run directory; false: "
        "confusion_matrix.csv alone, for report.html, where there are at most 100 classes",
    )

    @property
    def better(self) -> str:
        """``max`` or ``min``: which of two values of ``monitor`` is the better one."""
        return self.monitor_mode or better(self.monitor)


@dataclass(frozen=True)
class SwitchedOptions(Options):
    """What every callback with a section of its own has beside its options."""

    enabled: bool | None = option(None, "true: on; false: off; null: on if one of its other options is set")


@dataclass(frozen=True)
class SWAOptions(Options):
    """Options of `swa`."""

    from_epoch: int | None = option(
        None, "first epoch that is averaged, counted from 1; null: after 3/4 of trainer.max_epochs", minimum=1
    )
    lr: float | None = option(
        None, "learning rate of the averaged epochs, in the place of the schedule's; null: the schedule's", above=0
    )
    anneal_epochs: int = option(5, "epochs over which the learning rate goes there, by half a cosine", minimum=0)
    batch_norm_batches: int = option(
        100, "training batches after each epoch for the statistics of batch normalisation", minimum=1
    )


@dataclass(frozen=True)
class EarlyStoppingOptions(Options):
    """Options of `early_stopping`."""

    patience: int = option(10, "epochs without improvement after which training stops", minimum=1)
    monitor: str | None = option(None, "metric that has to improve; null: callbacks.monitor", choices=MONITORS)
    min_delta: float = option(0.0, "an improvement is one by more than this", minimum=0)
    threshold: float | None = option(None, "stop as soon as the metric is better than this; null: only by patience")


@dataclass(frozen=True)
class DeviceStatsOptions(Options):
    """Options of `device_stats`."""

    cpu_stats: bool | None = option(
        None, "load and memory of the machine, with the extra monitor; null: if nothing but the CPU trains"
    )


@dataclass(frozen=True)
class ThroughputOptions(Options):
    """Options of `throughput`."""

    window_size: int = option(100, "batches over which rates are averaged", minimum=2)


def better(metric: str) -> str:
    """``max`` or ``min``: more of an accuracy is better, less of a loss."""
    return "min" if metric.endswith(LOSS) else "max"
