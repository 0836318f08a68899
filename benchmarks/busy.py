"""The default run on a busy machine: ``python -m benchmarks.busy`` writes benchmarks/busy.md.

Four epochs of ``python run.py`` with nothing else running, and beside as many endless loops as there are cores.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from benchmarks.environment import environment
from benchmarks.report import table
from lightning_modules.run.threads import CHOSEN_BY_USER

HERE = Path(__file__).resolve().parent
SETTINGS: dict[str, tuple[dict[str, str], tuple[str, ...]]] = {
    "default of run.py": ({}, ()),
    "default of GCC's OpenMP (GOMP_SPINCOUNT=300000)": ({"GOMP_SPINCOUNT": "300000"}, ()),
    "GOMP_SPINCOUNT=10000": ({"GOMP_SPINCOUNT": "10000"}, ()),
    "OMP_WAIT_POLICY=PASSIVE": ({"OMP_WAIT_POLICY": "PASSIVE"}, ()),
    "threads=1": ({}, ("threads=1",)),
}
EPOCHS = 4
SLOWER_WHEN_BUSY = 4.0  # allowed: busy / idle, beside one endless loop a core
SLOWER_WHEN_IDLE = 4 / 3  # allowed: idle / idle with OpenMP's default


def train_seconds(environ: dict[str, str], overrides: tuple[str, ...]) -> float:
    """Seconds in training, validation included, of one run in a process of its own."""
    inherited = {name: value for name, value in os.environ.items() if name not in CHOSEN_BY_USER}
    with tempfile.TemporaryDirectory() as folder:
        subprocess.run(
            [
                sys.executable, str(HERE.parent / "run.py"), f"trainer.max_epochs={EPOCHS}",
                "callbacks.progress_bar=false", f"hydra.run.dir={folder}/run", *overrides,
            ],
            env={**inherited, **environ}, check=True, capture_output=True, cwd=folder,
        )  # fmt: skip
        return float(json.loads((Path(folder) / "run" / "summary.json").read_text())["train_seconds"])


@contextmanager
def busy(processes: int) -> Iterator[None]:
    """So many endless loops beside what runs inside."""
    with ExitStack() as stack:
        for _ in range(processes):
            loop = stack.enter_context(subprocess.Popen([sys.executable, "-c", "while True: pass"]))
            stack.callback(loop.kill)
        yield


def main(arguments: list[str] | None = None) -> None:
    """Measure each setting in turns, idle and busy; write the page."""
    parser = argparse.ArgumentParser("benchmarks.busy", description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--out", type=Path, default=HERE / "busy.md")
    args = parser.parse_args(arguments)
    loops = os.cpu_count() or 1
    times: dict[tuple[str, int], list[float]] = {(name, load): [] for name in SETTINGS for load in (0, loops)}
    for _ in range(args.rounds):
        for (name, load), taken in times.items():
            with busy(load):
                taken.append(train_seconds(*SETTINGS[name]))
            print(f"{name}, {load} busy processes: {taken[-1]:.1f} s", flush=True)
    medians = {key: statistics.median(taken) for key, taken in times.items()}
    fastest = medians[list(SETTINGS)[1], 0]
    rows = []
    for name in SETTINGS:
        idle, loaded = medians[name, 0], medians[name, loops]
        met = loaded / idle <= SLOWER_WHEN_BUSY and idle / fastest <= SLOWER_WHEN_IDLE
        rows.append((name, f"{idle:.1f}", f"{loaded:.1f}", f"{loaded / idle:.1f}", f"{idle / fastest:.2f}",
                     "met" if met else "not met"))  # fmt: skip
    facts = environment()
    header = ("setting", "idle, s", "busy, s", "busy / idle", "idle / idle of OpenMP's default", "4 and 1.33 allowed")
    args.out.write_text(
        f"# A busy machine\n\n`python -m benchmarks.busy --rounds {args.rounds}`; date {facts['date']}, torch "
        f"{facts['torch']}, threads {facts['threads']}, cpu {facts['cpu']}. Seconds of training in {EPOCHS} epochs of "
        f"the default run (tiny network, digits), alone and beside {loops} endless loops; medians of the rounds, in "
        "each of which all take turns.\n\n" + "\n".join(table(header, rows))
    )
    print(args.out.read_text())


if __name__ == "__main__":
    main()
