"""What the spectrum monitor costs: ``python -m benchmarks.monitor`` writes benchmarks/monitor.md.

Training as ``python run.py`` does it, with and without the monitor in turns, epoch by epoch.
"""

from __future__ import annotations

import argparse
import statistics
from pathlib import Path

from benchmarks.environment import environment
from benchmarks.report import table
from benchmarks.training import train
from lightning_modules.settings.callback_options import CallbackOptions

HERE = Path(__file__).resolve().parent
NETWORKS = {
    "tiny, digits at 64 px": ("dataset=digits",),
    "resnet18, textures at 64 px": ("dataset=textures", "data.train_per_class=100", "backbone=resnet18"),
}
ALLOWED = 0.03  # of the time of a step, at the default interval


def seconds_per_step(overrides: tuple[str, ...], every: int | None, steps: int) -> float:
    """Seconds of a training step, data loading and the monitor included, validation apart."""
    settings = (
        "callbacks.progress_bar=false",
        "trainer.accelerator=cpu",
        f"callbacks.spectrum_every_n_steps={'null' if every is None else every}",
    )
    _, summary = train([*overrides, *settings], steps)
    return float(summary["train_seconds"]) / steps


def main(arguments: list[str] | None = None) -> None:
    """Measure with a measurement at every step, which is what can be told from noise; divide by the interval."""
    parser = argparse.ArgumentParser("benchmarks.monitor", description=__doc__.splitlines()[0])
    parser.add_argument("--steps", type=int, default=25)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--out", type=Path, default=HERE / "monitor.md")
    args = parser.parse_args(arguments)
    every = CallbackOptions().spectrum_every_n_steps or 1
    rows: list[tuple[str, ...]] = []
    for name, overrides in NETWORKS.items():
        times: dict[int | None, list[float]] = {None: [], 1: []}
        for _ in range(args.rounds):
            for interval, taken in times.items():
                taken.append(seconds_per_step(overrides, interval, args.steps))
        without, always = (statistics.median(taken) for taken in times.values())
        share = max(always - without, 0.0) / every / without
        verdict = "met" if share <= ALLOWED else "not met"
        rows.append((name, f"{1e3 * without:.1f}", f"{1e3 * (always - without):.1f}", f"{share:.2%}", verdict))
    facts = environment()
    header = ("network", "step, ms", "one measurement, ms", f"share at every {every} steps", f"{ALLOWED:.0%} allowed")
    text = (
        f"# The spectrum monitor\n\n`python -m benchmarks.monitor`; date {facts['date']}, torch {facts['torch']}, "
        f"threads {facts['threads']}, cpu {facts['cpu']}. Method pade, batches of 32; {args.rounds} runs of "
        f"{args.steps} steps with a measurement at every step and as many without, in turns; medians. The "
        "beta-smoothness, off by default, is not in it: five forward and backward passes each time.\n\n"
    )
    args.out.write_text(text + "\n".join(table(header, rows)))
    print(args.out.read_text())


if __name__ == "__main__":
    main()
