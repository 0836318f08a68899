"""Jobs of a real Slurm on this machine: ``python -m benchmarks.slurm`` writes benchmarks/slurm.md.

The cluster and the jobs are those of tests/test_slurm.py. It needs Slurm (slurm-wlm, munge) and to be run as root.
"""

from __future__ import annotations

import re
import subprocess
import tempfile
from collections.abc import Callable
from pathlib import Path

from benchmarks.environment import environment
from benchmarks.report import table
from benchmarks.slurm_cluster import GRACE, cluster
from benchmarks.slurm_runs import (
    LONG,
    LONGER,
    SHORT,
    TWO,
    Site,
    announce,
    interrupt,
    nothing,
    preempt,
    requeue,
    same_training,
)
from lightning_modules.metric_names import TEST_ACCURACY

HERE = Path(__file__).resolve().parent
SWEEP = ("-m", "sweep=methods", "method=pade,newton,taylor", *SHORT)
RUNS = {"whole": LONG, "longer": LONGER, "two": (*LONG, *TWO)}  # what is interrupted
# What happens, the options of sbatch, and which of the runs it is.
INTERRUPTIONS: dict[str, tuple[Callable[[Site], Callable[[str], object]], tuple[str, ...], str]] = {
    "a job of higher priority takes the machine": (preempt, (), "whole"),
    "SIGUSR1": (lambda site: announce(site, "USR1"), (), "whole"),
    "SIGUSR2": (lambda site: announce(site, "USR2"), (), "whole"),
    "`scontrol requeue`": (requeue, (), "whole"),
    "the time of one minute runs out": (nothing, ("--time=1", "--signal=USR1@30"), "longer"),
    "a job of higher priority, two tasks": (preempt, ("--ntasks-per-node=2",), "two"),
    "SIGUSR1, one task, two processes": (lambda site: announce(site, "USR1"), (), "two"),
}


def interruptions(site: Site) -> list[str]:
    """A table of what became of each interrupted job, and what Slurm said of the first."""
    for name, arguments in RUNS.items():
        site.train(*arguments, f"hydra.run.dir={name}")
    rows: list[tuple[str, ...]] = []
    lines: list[str] = []
    for name, (how, options, kind) in INTERRUPTIONS.items():
        site.told.clear()
        found = interrupt(site, kind, how(site), *options, "train.sh", *RUNS[kind])
        equal = "yes" if found.equal else "NO"
        rows.append((name, found.said.partition(";")[0], str(found.step), str(found.restarts), equal))
        lines = lines or [f"$ sbatch {' '.join((*options, 'train.sh', *RUNS[kind]))}", *site.told]
    head = ("what happened", "in summary.json then", "step of last.ckpt", "restarts", "same training")
    return [
        "## Interrupted jobs",
        "",
        f"`sbatch train.sh`, the script of [devices](../docs/devices.md). What Slurm says of a job that has to make "
        f"room, within {GRACE} s, each time that changes:",
        "",
        "```",
        *lines,
        "```",
        "",
        *table(head, rows),
        "Same training: final weights, state of the optimizer and metrics of validation are, bit by bit, those of the "
        "run that nothing disturbed, outside of Slurm.",
        "",
    ]


def sweep(site: Site) -> list[str]:
    """The same sweep in one process and as an array."""
    options = ("launcher=slurm", "hydra.launcher.partition=main", "hydra.launcher.array_parallelism=2")
    site.train(*SWEEP, "hydra.sweep.dir=here")
    done = site.train(*SWEEP, *options, "hydra.sweep.dir=there")
    names = sorted(path.name for path in (site.folder / "here").glob("*-*"))
    rows = [
        (name, site.summary(f"there/{name}")["scheduler_job"], f"{site.summary(f'there/{name}')[TEST_ACCURACY]:.4f}",
         "yes" if same_training(site, f"here/{name}", f"there/{name}") else "NO")
        for name in names
    ]  # fmt: skip
    (array,) = re.findall(r"the first is (\d+)_0", done.stdout)
    seen = site.show(f"{array}_0")
    shown = ("JobState", "ArrayTaskThrottle", "Partition", "NumCPUs", "Restarts")
    return [
        "## A sweep",
        "",
        "```",
        f"$ python run.py {' '.join((*SWEEP, *options))}",
        " ".join(f"{name}={seen[name]}" for name in shown),
        "```",
        "",
        *table(("job", "of Slurm", "test accuracy", "same training as with launcher=basic"), rows),
    ]


def main() -> None:
    """Run everything and write the page."""
    with tempfile.TemporaryDirectory() as place, tempfile.TemporaryDirectory() as folder, cluster(Path(place)) as found:
        version = subprocess.run(["sbatch", "--version"], env=found, capture_output=True, text=True, check=True).stdout
        site = Site(Path(folder), found)
        parts = [*sweep(site), *interruptions(site)]
    described = ", ".join(f"{name} {value}" for name, value in environment().items())
    page = [
        "# Slurm",
        "",
        f"`python -m benchmarks.slurm`; {described}, {version.strip()}. One machine of two cores, two partitions of "
        "which one has priority over the other.",
        "",
        *parts,
    ]
    (HERE / "slurm.md").write_text("\n".join(page).rstrip() + "\n")


if __name__ == "__main__":
    main()
