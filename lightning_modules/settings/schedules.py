"""Learning-rate schedules by name. Free of torch."""

from __future__ import annotations

from dataclasses import dataclass

from gcp.options import Options, option
from gcp.registry import Registry
from lightning_modules.settings.entry import Entry


@dataclass(frozen=True)
class StepOptions(Options):
    """Options of `step`."""

    milestones: list[int] = option([10, 13], "epochs after which the learning rate drops", minimum=0)
    gamma: float = option(0.1, "factor of each drop", above=0)


SCHEDULES: Registry[Entry] = Registry("schedule")

SCHEDULES.register(
    "step", Entry("step", StepOptions, "lightning_modules.optimisation:step", "drops at the epochs listed")
)
