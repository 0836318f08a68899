"""Options of sweeps. Free of torch."""

from __future__ import annotations

from dataclasses import dataclass

from gcp.options import Options, option


@dataclass(frozen=True)
class SweepOptions(Options):
    """What holds for the jobs of a sweep together."""

    resume: bool = option(False, "skip the jobs that are finished in hydra.sweep.dir, go on with those interrupted")
    report: bool = option(True, "write sweep.csv, sweep.md and sweep.png at the end")
