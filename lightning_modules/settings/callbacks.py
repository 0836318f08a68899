"""What happens around the training loop. Free of torch."""

from __future__ import annotations

from dataclasses import dataclass

from gcp.options import Options, option
from lightning_modules.metric_names import LOSS, MONITORED


@dataclass(frozen=True)
class CallbackOptions(Options):
    """What happens around the training loop."""

    monitor: str = option("val/acc1", "metric that decides which checkpoint is best", choices=MONITORED)
    monitor_mode: str | None = option(
        None, "whether more or less of it is better; none: less of a loss, more of an accuracy", choices=("max", "min")
    )
    checkpoint_every_n_steps: int | None = option(
        None, "optimizer steps between two last.ckpt inside an epoch; none: one after each epoch", minimum=1
    )
    spectrum_every_n_steps: int | None = option(
        50,
        "steps between two measurements of the pooling layer's spectrum and gradients; none: off",
        minimum=1,
    )
    smoothness_every_n_steps: int | None = option(
        None, "the same for the beta-smoothness of the convolution before it, five passes each; none: off", minimum=1
    )
    progress_bar: bool = option(
        True, "rich progress bars, where there is a terminal; a line for each epoch is printed anyway"
    )
    log_learning_rate: bool = option(True, "write the learning rates to the loggers")
    confusion_matrix: bool = option(
        False, "after the test: per_class.csv, confusion_matrix.csv and confusion_matrix.png in the run directory"
    )

    @property
    def better(self) -> str:
        """``max`` or ``min``: which of two values of ``monitor`` is the better one."""
        return self.monitor_mode or ("min" if self.monitor.endswith(LOSS) else "max")
