"""``mode=predict``: classes and probabilities of pictures, in predictions.csv."""

from __future__ import annotations

import dataclasses
from pathlib import Path

from datamodules.loader import ImageLoader, process_options
from datamodules.pictures import Pictures, find_pictures, join
from gcp.errors import DataError
from lightning_modules.modes.building import count_parameters, name_left_out, preprocessing_of, trained_classifier
from lightning_modules.modes.table import show_rows
from lightning_modules.modes.trainer import build_trainer
from lightning_modules.run.read_checkpoint import read
from lightning_modules.run.spec import Run
from lightning_modules.run.storage import write_csv
from lightning_modules.run.summary import Summary

FILE = "predictions.csv"


def run(run: Run, summary: Summary) -> None:
    """Classify the pictures of ``data.path``; those that cannot be read are named and left out.

    Raises:
        DataError: no pictures, none that can be read, or a dataset that does not say how its images are normalised.
    """
    options = run.config["data"]
    files = find_pictures(Path(options["path"]))
    checkpoint = read(Path(run.config["ckpt_path"]))
    module = trained_classifier(run, checkpoint)
    preprocessing = preprocessing_of(run, checkpoint)
    size = options.get("eval_batch_size") or options["batch_size"]
    pictures = Pictures(files, preprocessing, options.get("decode_backend", "torchvision"))
    loader = ImageLoader(pictures, size, collate_fn=join, **process_options(options["num_workers"]))
    # One device: with several, each would see a share of the pictures, some of them twice.
    alone = {**run.config["trainer"], "devices": 1, "num_nodes": 1, "strategy": "auto"}
    trainer = build_trainer(dataclasses.replace(run, config={**run.config, "trainer": alone}), callbacks=[])
    summary.begin()
    results = trainer.predict(module, loader)
    assert results is not None
    failures = [failure for _, batch in results for failure in batch.failures]
    name_left_out(dict(failures))
    if len(failures) == len(files):
        raise DataError(f"none of the {len(files)} files in data.path={options['path']} is a readable image")
    predictions = []
    for probabilities, batch in results:
        best = probabilities.max(-1)
        for file, value, label in zip(batch.files, best.values.tolist(), best.indices.tolist(), strict=True):
            predictions.append([file, preprocessing.class_names[label], f"{value:.6f}"])
    write_csv(run.directory / FILE, [["file", "class", "probability"], *predictions])
    counts = {"predict/images": len(files) - len(failures), "predict/unreadable": len(failures)}
    summary.update(**count_parameters(module), ckpt_path=run.config["ckpt_path"], **counts)
    rows = {"images": str(counts["predict/images"]), "unreadable": str(len(failures)) if failures else None}
    show_rows(run, {**rows, "predictions": FILE})
