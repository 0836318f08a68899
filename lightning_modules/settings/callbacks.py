"""What happens around the training loop. Free of torch."""

from __future__ import annotations

from dataclasses import dataclass

from gcp.options import Options, option


@dataclass(frozen=True)
class CallbackOptions(Options):
    """What happens around the training loop."""

    monitor: str = option("val/acc1", "metric that decides which checkpoint is best")
    monitor_mode: str = option("max", "whether more or less of it is better", choices=("max", "min"))
    checkpoint_every_n_steps: int | None = option(
        None, "optimizer steps between two last.ckpt inside an epoch; none: one after each epoch", minimum=1
    )
    progress_bar: bool = option(True, "rich progress bars")
    log_learning_rate: bool = option(True, "write the learning rates to the loggers")
    confusion_matrix: bool = option(
        False, "after the test: per_class.csv, confusion_matrix.csv and confusion_matrix.png in the run directory"
    )
