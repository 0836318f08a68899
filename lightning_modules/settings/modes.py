"""Options of single modes, and of sweeps. Free of torch."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from gcp.errors import OptionError
from gcp.options import LARGEST_SEED, Options, make_options, option
from gcp.registry import nearest

PNG, HTML, PDF = FORMATS = ("png", "html", "pdf")
PARTS = ("approximation", "bounds", "gradients", "smoothness", "time")


@dataclass(frozen=True)
class AnalysisOptions(Options):
    """The analysis of precision and smoothness (ICCV 2021)."""

    parts: list[str] = option(list(PARTS), f"what to analyse: {', '.join(PARTS)}")
    steps: int = option(120, "smoothness: steps of training of each method", minimum=2)
    every: int = option(3, "smoothness: steps between two measurements", minimum=1)
    repeats: int = option(9, "time: runs of which the median is taken", minimum=1)

    def __post_init__(self) -> None:
        super().__post_init__()
        for part in self.parts:
            if part not in PARTS:
                raise OptionError(f"parts has no '{part}'{nearest(part, PARTS)}; there are: {', '.join(PARTS)}")


@dataclass(frozen=True)
class ExportOptions(Options):
    """What ``mode=export`` writes."""

    format: str = option(
        "torch",
        "torch: model.pt2 (torch.export), every method; onnx: model.onnx, methods without a decomposition; both; "
        "hub: a folder for gcp.from_pretrained and the Hugging Face Hub",
        choices=("torch", "onnx", "both", "hub"),
    )


@dataclass(frozen=True)
class ShardsOptions(Options):
    """What ``mode=shards`` writes."""

    folder: str | None = option(None, "new folder for the shards and their indexes")
    images: int = option(1000, "images in each shard", minimum=1)
    seed: int = option(
        0,
        "seed of the order training images are written in, so that a few shards hold all classes",
        minimum=0,
        maximum=LARGEST_SEED,
    )
    verify: bool = option(True, "read every image first, by data.num_workers processes; false: copy files unseen")
    index_only: bool = option(False, "count shards that are there, data.urls, and write indexes of them alone")


@dataclass(frozen=True)
class ReportOptions(Options):
    """What is written to be looked at, at the end of a run, of a sweep and of mode=report."""

    formats: list[str] = option(
        [PNG, HTML],
        "png: run.png, how the training went; html: report.html, one file with results, plots, mistakes and settings; "
        "pdf: the plots for print; []: none of them",
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        for name in self.formats:
            if name not in FORMATS:
                raise OptionError(f"formats has no '{name}'{nearest(name, FORMATS)}; there are: {', '.join(FORMATS)}")


@dataclass(frozen=True)
class SweepOptions(Options):
    """What holds for the jobs of a sweep together."""

    resume: bool = option(False, "skip the jobs that are finished in hydra.sweep.dir, go on with those interrupted")
    report: bool = option(True, "write sweep.csv, sweep.md and sweep.png at the end")


def formats_of(config: Mapping[str, Any]) -> list[str]:
    """The formats of reports that a configuration asks for; empty where it has no section for them."""
    section = config.get("report")
    return [] if section is None else make_options(ReportOptions, section, "section 'report'").formats
