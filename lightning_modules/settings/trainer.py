"""Options of Lightning's Trainer. Free of torch."""

from __future__ import annotations

import re
from dataclasses import dataclass

from gcp.errors import OptionError
from gcp.options import Options, option


@dataclass(frozen=True)
class TrainerOptions(Options):
    """Arguments of Lightning's Trainer, under its names."""

    max_epochs: int = option(15, "epochs of training", minimum=1)
    accelerator: str = option("auto", "auto, cpu, gpu, ...")
    devices: int | str = option(1, "number of devices, or auto, or -1: every GPU")
    num_nodes: int = option(1, "number of machines", minimum=1)
    strategy: str = option("auto", "auto, ddp, ...; data.batch_size is that of one device")
    precision: str = option(
        "32-true",
        "of the network; the spectral layer has its own, method.precision",
        choices=("32-true", "64-true", "16-mixed", "bf16-mixed"),
    )
    deterministic: bool = option(False, "deterministic algorithms only, where torch has them")
    gradient_clip_val: float | None = option(5.0, "largest gradient norm; none: not clipped", above=0)
    accumulate_grad_batches: int = option(1, "batches per optimizer step", minimum=1)
    limit_train_batches: int | float = option(1.0, "number or fraction of batches per epoch", above=0)
    limit_val_batches: int | float = option(1.0, "number or fraction of validation batches", minimum=0)
    limit_test_batches: int | float = option(1.0, "number or fraction of test batches", minimum=0)
    overfit_batches: int | float = option(0.0, "train on so many batches only, again and again", minimum=0)
    log_every_n_steps: int = option(10, "steps between two rows of training metrics", minimum=1)
    check_val_every_n_epoch: int = option(1, "epochs between two validations", minimum=1)
    num_sanity_val_steps: int = option(0, "validation batches tried before training", minimum=0)
    sync_batchnorm: bool = option(False, "batch statistics over all devices")
    requeue: bool = option(
        True, "under Slurm: on SIGUSR1 write a checkpoint and queue the job again, which then goes on from it"
    )
    detect_anomaly: bool = option(False, "trace NaN in the backward to the operation that made it (slow)")

    def __post_init__(self) -> None:
        super().__post_init__()
        count = int(self.devices) if re.fullmatch(r"-?\d+", str(self.devices)) else None
        if (
            (count is None and not re.fullmatch(r"auto|\d+(,\d*)+", str(self.devices)))
            or (count or 1) < -1
            or count == 0
        ):
            raise OptionError(
                f"devices must be a number of at least 1, auto, or -1 for every GPU, got {self.devices!r}"
            )
        for name in ("limit_train_batches", "limit_val_batches", "limit_test_batches", "overfit_batches"):
            value = getattr(self, name)
            if isinstance(value, float) and value > 1:
                raise OptionError(f"{name} must be a whole number of batches, or a fraction up to 1.0, got {value}")
