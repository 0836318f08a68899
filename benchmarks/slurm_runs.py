"""Real jobs of a real Slurm: what tests/test_slurm.py asserts and `benchmarks.slurm` shows."""

from __future__ import annotations

import csv
import json
import re
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch

from lightning_modules.metric_names import VAL_ACCURACY, VAL_LOSS

ROOT = Path(__file__).resolve().parent.parent
RUN = str(ROOT / "run.py")
SHOWN = ("JobState", "Reason", "Restarts", "ExitCode")
PATIENCE = 300.0  # seconds for anything to happen
TINY = (
    "threads=1",
    "backbone.width=8",
    "data.image_size=16",
    "data.batch_size=16",
    "trainer.accelerator=cpu",
    "trainer.limit_train_batches=10",
    "callbacks.progress_bar=false",
    "report.formats=[]",
)
SHORT = (*TINY, "trainer.max_epochs=1")
LONG = (*TINY, "trainer.max_epochs=60")
LONGER = (*TINY, "trainer.max_epochs=300")
TWO = ("trainer=ddp_cpu", "trainer.devices=2", "data.batch_size=8")
BUSY = ("--partition=urgent", "--ntasks=2", "--wrap=sleep 4")  # a job that takes the whole machine


@dataclass
class Site:
    """A folder to work in, and the environment in which Slurm is found.

    Attributes:
        folder: where commands are started.
        environment: what they find.
        told: what has been done and seen, for the page.
    """

    folder: Path
    environment: dict[str, str]
    told: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.script("train.sh", script_of_the_page())
        self.environment = {
            **{name: value for name, value in self.environment.items() if "PYTEST" not in name},
            "PATH": f"{Path(sys.executable).parent}:{self.environment['PATH']}:/usr/sbin",
            "OMP_NUM_THREADS": "1",
        }

    def script(self, name: str, text: str) -> str:
        """A batch script; its ``run.py`` is the one of this project, wherever the job is."""
        (self.folder / name).write_text(text.replace("run.py", RUN))
        return name

    def run(self, *command: str, check: bool = True) -> subprocess.CompletedProcess[str]:
        """A command, to its end."""
        done = subprocess.run(
            command,
            cwd=self.folder,
            env=self.environment,
            capture_output=True,
            text=True,
            timeout=PATIENCE,
            check=False,
        )
        if check and done.returncode:
            raise AssertionError(f"{' '.join(command)}: {done.stdout}{done.stderr}")
        return done

    def train(self, *arguments: str, check: bool = True) -> subprocess.CompletedProcess[str]:
        """``python run.py`` outside of Slurm's jobs."""
        return self.run("python", RUN, *arguments, check=check)

    def start(self, *arguments: str) -> subprocess.Popen[str]:
        """The same, not waited for."""
        return subprocess.Popen(
            ["python", RUN, *arguments],
            cwd=self.folder,
            env=self.environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            executable=sys.executable,
        )

    def submit(self, *arguments: str) -> str:
        """``sbatch``; the number of the job."""
        return self.run("sbatch", "--parsable", "--output=%j.out", *arguments).stdout.strip()

    def output(self, job: str) -> str:
        """What a job has printed."""
        return (self.folder / f"{job}.out").read_text()

    def show(self, job: str) -> dict[str, str]:
        """What Slurm says of a job."""
        return dict(re.findall(r"(\w+)=(\S*)", self.run("scontrol", "show", "job", job).stdout))

    def wait(self, job: str, *states: str) -> dict[str, str]:
        """Wait for one of the ``states``, telling what Slurm says whenever that changes."""
        last, deadline = "".join(self.told[-1:]), time.monotonic() + PATIENCE
        while time.monotonic() < deadline:
            seen = self.show(job)
            line = " ".join(f"{name}={seen[name]}" for name in SHOWN)
            if "PreemptTime" in seen and seen["PreemptTime"] != "None":
                line += " (being preempted)"
            if line != last:
                self.told.append(line)
                last = line
            if seen["JobState"] in states:
                return seen
            time.sleep(0.2)
        raise AssertionError(f"job {job} is {last}\n{self.output(job)}")

    def until(self, holds: Callable[[], Any]) -> None:
        """Wait for ``holds``."""
        deadline = time.monotonic() + PATIENCE
        while not holds():
            if time.monotonic() > deadline:
                raise AssertionError("it did not happen")
            time.sleep(0.1)

    def summary(self, directory: str) -> dict[str, Any]:
        """The summary of a run directory; empty: there is none."""
        file = self.folder / directory / "summary.json"
        return dict(json.loads(file.read_text())) if file.exists() else {}

    def checkpoint(self, directory: str) -> dict[str, Any]:
        """The last checkpoint of a run directory."""
        path = self.folder / directory / "checkpoints/last.ckpt"
        return dict(torch.load(path, weights_only=True))

    def has_checkpoint(self, directory: str) -> bool:
        """Whether there is one."""
        return (self.folder / directory / "checkpoints/last.ckpt").exists()


def script_of_the_page() -> str:
    """The batch script of docs/devices.md."""
    (script,) = re.findall(r"^```bash\n(#!/bin/bash\n.*?)^```", (ROOT / "docs/devices.md").read_text(), re.S | re.M)
    return str(script)


def same_training(site: Site, one: str, other: str) -> bool:
    """Whether two runs ended in the same weights, optimizer state and validation metrics, bit by bit."""
    first, second = site.checkpoint(one), site.checkpoint(other)
    rows = [list(csv.DictReader((site.folder / each / "metrics.csv").open())) for each in (one, other)]
    metrics = [[(row["step"], row[VAL_LOSS], row[VAL_ACCURACY]) for row in each if row[VAL_LOSS]] for each in rows]
    return (
        first["global_step"] == second["global_step"]
        and metrics[0] == metrics[1]
        and _equal(first["state_dict"], second["state_dict"])
        and _equal(first["optimizer_states"], second["optimizer_states"])
    )


def _equal(one: Any, other: Any) -> bool:
    if isinstance(one, torch.Tensor):
        return torch.equal(one, other)
    if isinstance(one, dict):
        return one.keys() == other.keys() and all(_equal(one[key], other[key]) for key in one)
    if isinstance(one, (list, tuple)):
        return len(one) == len(other) and all(map(_equal, one, other))
    return bool(one == other)


@dataclass
class Interruption:
    """A job that was interrupted, and went on.

    Attributes:
        said: the sentence in its summary when it was.
        step: the step of the checkpoint it left.
        restarts: how often Slurm had started it again at the end.
        equal: whether its training ended as the undisturbed one.
    """

    said: str
    step: int
    restarts: int
    equal: bool


def interrupt(site: Site, undisturbed: str, interruption: Callable[[str], object], *options: str) -> Interruption:
    """Send the page's script, disturb the job once it has a checkpoint, and see what it becomes.

    Args:
        site: where.
        undisturbed: the directory of the same run, undisturbed.
        interruption: takes the number of the job.
        options: of ``sbatch``, before the script, and its arguments.
    """
    job = site.submit(*options)
    directory = f"outputs/slurm-{job}"
    site.until(lambda: site.has_checkpoint(directory))
    site.wait(job, "RUNNING")
    interruption(job)
    site.wait(job, "PENDING")
    said, step = str(site.summary(directory)["error"]), int(site.checkpoint(directory)["global_step"])
    seen = site.wait(job, "COMPLETED", "FAILED", "CANCELLED", "TIMEOUT")
    if seen["JobState"] != "COMPLETED":
        raise AssertionError(site.output(job))
    return Interruption(said, step, int(seen["Restarts"]), same_training(site, undisturbed, directory))


def preempt(site: Site) -> Callable[[str], object]:
    """A job of higher priority takes the machine."""
    return lambda job: site.submit(*BUSY)


def announce(site: Site, name: str) -> Callable[[str], object]:
    """Slurm sends a signal, as it does some time before the end (``--signal``)."""
    return lambda job: site.run("scancel", f"--signal={name}", job)


def nothing(site: Site) -> Callable[[str], object]:
    """Slurm does what it was asked for in the script."""
    return lambda job: None


def requeue(site: Site) -> Callable[[str], object]:
    """Somebody queues the job again."""
    return lambda job: site.run("scontrol", "requeue", job)
