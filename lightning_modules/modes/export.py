"""``mode=export``: the network of a checkpoint as files, checked against it."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from pathlib import Path

import torch
from torch import Tensor, nn

from gcp.conditioning.orthogonal_weights import bake_orthogonal
from gcp.errors import ExportError
from gcp.fixed_whitening import fix_whitening
from gcp.methods import METHODS
from gcp.options import make_options
from lightning_modules.exporting import hub, onnx, program
from lightning_modules.modes.building import count_parameters, stored_preprocessing, trained_classifier
from lightning_modules.modes.table import show_rows
from lightning_modules.run.read_checkpoint import read
from lightning_modules.run.spec import Run
from lightning_modules.run.summary import Summary
from lightning_modules.settings.modes import ExportOptions

FORMATS = {"torch": program, "onnx": onnx}
HUB = "hub"  # a folder, which is read by this project
INPUT_FILE = "input.json"  # size and normalisation of the images, names of the classes
TOLERANCE = 1e-3  # of the largest logit: beyond rounding


def run(run: Run, summary: Summary) -> None:
    """Write, load, compare, report.

    Raises:
        ExportError: a format that cannot hold the network, or a file whose logits differ from the network's.
        MissingDependencyError: see `onnx.check`.
    """
    options = make_options(ExportOptions, run.config["export"], "section 'export'")
    chosen = [name for name in FORMATS if options.format in (name, "both")]
    if "onnx" in chosen:
        onnx.check(run.method, decomposes=METHODS.get(run.method).kernel is not None)
    checkpoint = read(Path(run.config["ckpt_path"]))
    module = trained_classifier(run, checkpoint)
    bake_orthogonal(module.model)
    preprocessing = stored_preprocessing(checkpoint)
    summary.update(**count_parameters(module), ckpt_path=run.config["ckpt_path"])
    summary.begin()
    if preprocessing is not None:
        (run.directory / INPUT_FILE).write_text(json.dumps(preprocessing.plain(), indent=2) + "\n")
    size = run.config["data"]["image_size"] if preprocessing is None else preprocessing.image_size
    generator = torch.Generator().manual_seed(run.seed)
    images = torch.randn(3, 3, size, size, generator=generator)
    rows: dict[str, str | None] = {}
    if options.format == HUB:
        facts = hub.facts_of(Path(run.config["ckpt_path"]), run.config["data"], preprocessing)
        hub.write(module.model, facts, images, run.directory / hub.DIRECTORY)
        summary.update(**{f"export/{HUB}": hub.DIRECTORY})
        rows[hub.DIRECTORY] = "read back, the same logits to the bit"
    fix_whitening(module.model)
    for name in chosen:
        path = run.directory / FORMATS[name].FILE
        FORMATS[name].write(module.model, images[:2], path)
        exported = FORMATS[name].load(path)
        if exported is None:
            print(f"{path} was not run: {onnx.EXTRA}, which has onnxruntime", file=sys.stderr)
        difference = None if exported is None else largest_difference(exported, module.model, images, path)
        summary.update(**{f"export/{name}": path.name, f"export/{name}_difference": difference})
        rows[path.name] = "not checked" if difference is None else f"largest difference of a logit {difference:.1e}"
    show_rows(run, rows)


@torch.no_grad()
def largest_difference(exported: Callable[[Tensor], Tensor], model: nn.Module, images: Tensor, path: Path) -> float:
    """Largest difference between the logits of the two, for batches of one and of all ``images``.

    Raises ExportError if it is more than rounding.
    """
    largest = 0.0
    for batch in (images[:1], images):
        expected = model(batch)
        difference = (exported(batch) - expected).abs().max().item()
        if not difference <= TOLERANCE * max(1.0, expected.abs().max().item()):
            raise ExportError(
                f"{path} gives logits that differ by {difference:.1e} from the network's for a batch of {len(batch)}; "
                "do not use it"
            )
        largest = max(largest, difference)
    return largest
