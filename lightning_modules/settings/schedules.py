"""Learning-rate schedules by name. Free of torch."""

from __future__ import annotations

from dataclasses import dataclass

from gcp.errors import OptionError
from gcp.options import Options, option
from gcp.registry import Registry
from lightning_modules.settings.entry import Entry


@dataclass(frozen=True)
class ScheduleOptions(Options):
    """Options every schedule takes, and all that `constant` has."""

    warmup_epochs: int = option(0, "epochs over which the learning rate rises linearly, once in each", minimum=0)
    warmup_steps: int = option(0, "the same in optimizer steps, rising with each", minimum=0)
    warmup_factor: float = option(0.01, "factor of the learning rate the warm-up begins with", above=0, maximum=1)

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.warmup_epochs and self.warmup_steps:
            raise OptionError("warmup_epochs and warmup_steps exclude each other; set one of them")


@dataclass(frozen=True)
class StepOptions(ScheduleOptions):
    """Options of `step`."""

    milestones: list[int] = option([10, 13], "epochs after which the learning rate drops", minimum=0)
    gamma: float = option(0.1, "factor of each drop", above=0)


@dataclass(frozen=True)
class LogOptions(ScheduleOptions):
    """Options of `log`."""

    p0: float | None = option(None, "the first learning rate is 10^p0, in the place of optimizer.lr; none: that is it")
    p1: float = option(-4.0, "the last epoch's learning rate is 10^p1")


@dataclass(frozen=True)
class CosineOptions(ScheduleOptions):
    """Options of `cosine`."""

    final_factor: float = option(0.0, "factor the learning rate falls to", minimum=0, maximum=1)


SCHEDULES: Registry[Entry] = Registry("schedule")

_MODULE = "lightning_modules.optimisation.schedules"

SCHEDULES.register("step", Entry("step", StepOptions, f"{_MODULE}:step", "drops at the epochs listed"))
SCHEDULES.register("log", Entry("log", LogOptions, f"{_MODULE}:log", "logarithmic over trainer.max_epochs, to 10^p1"))
SCHEDULES.register(
    "cosine", Entry("cosine", CosineOptions, f"{_MODULE}:cosine", "half a cosine over trainer.max_epochs")
)
SCHEDULES.register("constant", Entry("constant", ScheduleOptions, f"{_MODULE}:constant", "the same rate throughout"))
