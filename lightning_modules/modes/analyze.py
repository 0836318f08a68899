"""``mode=analyze``: the paper's analysis of precision and smoothness, as tables and plots in a folder."""

from __future__ import annotations

import sys
from collections.abc import Callable

import pytorch_lightning as pl
from rich.console import Console
from rich.progress import Progress

from gcp.options import make_options
from lightning_modules.analysis.approximation import approximation
from lightning_modules.analysis.bounds import bounds
from lightning_modules.analysis.gradients import gradients
from lightning_modules.analysis.part import Part
from lightning_modules.analysis.smoothness import METHODS, smoothness
from lightning_modules.analysis.timing import SIDES, timing
from lightning_modules.modes.building import build_data
from lightning_modules.run.spec import Run
from lightning_modules.run.summary import Summary
from lightning_modules.settings.modes import PARTS, AnalysisOptions

INDEX = "index.md"


def run(run: Run, summary: Summary) -> None:
    """Write the parts asked for, one after the other, into ``analysis/`` of the run directory."""
    options = make_options(AnalysisOptions, run.config["analysis"], "section 'analysis'")
    chosen = [part for part in PARTS if part in options.parts]
    summary.begin()
    folder = run.directory / "analysis"
    folder.mkdir(exist_ok=True)
    pl.seed_everything(run.seed, workers=True, verbose=False)
    sections = ["# Analysis"]
    console = Console(file=sys.stderr)
    with Progress(console=console, disable=not run.config["callbacks"]["progress_bar"]) as progress:
        for name in chosen:
            total = {"smoothness": len(METHODS) * options.steps, "time": len(SIDES) * (options.repeats + 1)}.get(
                name, 1
            )
            task = progress.add_task(name, total=total)
            part = _part(name, run, options, lambda task=task: progress.advance(task))  # type: ignore[misc]  # default binds
            sections.append(part.write(folder))
            (folder / INDEX).write_text("\n\n".join(sections) + "\n")  # what is done is kept
            progress.update(task, completed=total)
            print(f"{part.title}: {folder / (name + '.png')}")
    summary.update(**{"analysis/parts": chosen})
    print(f"files  {folder / INDEX}")


def _part(name: str, run: Run, options: AnalysisOptions, tick: Callable[[], object]) -> Part:
    if name == "smoothness":
        backbone, optimizer = run.config["backbone"], run.config["optimizer"]
        return smoothness(build_data(run), backbone, optimizer, run.seed, options.steps, options.every, tick)
    if name == "time":
        return timing(options.repeats, tick)
    return {"approximation": approximation, "bounds": bounds, "gradients": gradients}[name]()
