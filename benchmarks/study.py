"""Which method to choose: ``python -m benchmarks.study`` writes benchmarks/study.md.

The seven methods, halley, lyapunov, isqrt, hybrid training (isqrt, then pade) and average pooling, over seeds,
datasets, precisions and conditions made to hurt. Every finished run is a line of results/study.jsonl, and is not done
again; runs take one thread each, as many at a time as there are cores.

python -m benchmarks.study --report            # the page from the runs that are there
python -m benchmarks.study --dataset folder --root DIR --seeds 5   # on images of your own, standard condition
python -m benchmarks.study --dataset fashion_mnist --conditions rank-deficient   # of 4,000 images
"""

from __future__ import annotations

import argparse
import itertools
import json
import multiprocessing
import statistics
from collections.abc import Iterable, Iterator
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import asdict, dataclass
from datetime import date
from functools import cache
from pathlib import Path
from time import process_time
from typing import TYPE_CHECKING, Any

from rich.progress import Progress

from benchmarks.report import table
from lightning_modules.report.groups import Row, comparisons, rows_of
from lightning_modules.report.runs import METRIC, RunRecord
from lightning_modules.report.significance import LEVEL, significance

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from datamodules.splits import Splits

HERE = Path(__file__).resolve().parent
SVD = ("pade", "taylor", "pi", "newton", "halley", "trunc", "topn", "original", "lyapunov")
HYBRID = "isqrt+pade"
METHODS = (*SVD, "isqrt", HYBRID, "average")
DATASETS = ("digits", "textures")
SEEDS = 5
FEWER = {"fashion_mnist": 4000}  # training images, the first ones and as they are, where all would take too long
EPOCHS, MILESTONES, LR, BATCH, SIZE = 6, (4, 5), 0.1, 32, 64


@dataclass(frozen=True)
class Case:
    """One run.

    Attributes:
        method: a method, or FIRST+SECOND, which switches at the last milestone.
        dataset: name of the dataset.
        condition: key of CONDITIONS.
        precision: of the spectral layer.
        seed: of weights and order.
        root: folder of a dataset made of files.
    """

    method: str
    dataset: str
    condition: str
    precision: str
    seed: int
    root: str | None = None


# What differs from the standard: image size, batch size, learning rate, epochs.
CONDITIONS: dict[str, dict[str, float]] = {
    "standard": {},
    "rank-deficient": {"size": 32},  # 4 x 4 positions for 64 channels
    "tiny batch": {"size": 32, "batch": 4, "epochs": 3},
    "large rate": {"size": 32, "lr": 1.0},
}


def cases(seeds: int) -> Iterator[Case]:
    """All runs of the study."""
    for seed, dataset, method in itertools.product(range(seeds), DATASETS, METHODS):
        for condition in CONDITIONS:
            yield Case(method, dataset, condition, "mixed", seed)
    for seed, method, precision in itertools.product(range(seeds), SVD, ("float32", "float64")):
        yield Case(method, "digits", "standard", precision, seed)


def run(case: Case) -> dict[str, Any]:
    """Train and test: accuracy, loss of the last epoch, seconds of processor time, and how it went wrong, if it did.

    A run has collapsed if it gets fewer than twice as many right as guessing would.
    """
    import torch
    from torch import nn

    from datamodules.datasets import create_datamodule
    from gcp.errors import NonFiniteError
    from lightning_modules.classifier import Classifier
    from lightning_modules.switching import set_method

    torch.set_num_threads(1)
    torch.manual_seed(case.seed)
    changes = CONDITIONS[case.condition]
    first, _, second = case.method.partition("+")
    options: dict[str, Any] = {"image_size": int(changes.get("size", SIZE))}
    options["batch_size"] = int(changes.get("batch", BATCH))
    if case.root is not None:
        options["root"] = case.root
    data = create_datamodule(case.dataset, seed=case.seed, **options)
    data.setup()
    if case.dataset in FEWER:
        data.replace(_fewer(case.dataset, options["image_size"]))
    precision = {"precision": case.precision} if first in SVD else {}
    module = Classifier(
        backbone={"name": "tiny"},
        method={"name": first, **precision},
        num_classes=data.num_classes,
        optimizer={"name": "sgd", "lr": LR},
        schedule={"name": "constant"},
    )
    lr, epochs = float(changes.get("lr", LR)), int(changes.get("epochs", EPOCHS))
    optimizer = torch.optim.SGD(module.parameters(), lr=lr, momentum=0.9, weight_decay=1e-4)
    milestones = [each for each in MILESTONES if each < epochs] or [epochs - 1]
    schedule = torch.optim.lr_scheduler.MultiStepLR(optimizer, milestones, 0.1)
    loss = nn.CrossEntropyLoss()
    start = process_time()
    try:
        for epoch in range(epochs):
            if second and epoch == max(milestones):
                set_method(module, {"name": second})
            loader: Any = data.train_dataloader()
            loader.sampler.set_epoch(epoch)
            module.train()
            losses: list[float] = []
            for images, labels in loader:
                value = loss(module(images), labels)
                if not torch.isfinite(value):
                    raise NonFiniteError("the loss is NaN or infinite")
                optimizer.zero_grad()
                value.backward()
                nn.utils.clip_grad_norm_(module.parameters(), 5.0, error_if_nonfinite=True)
                optimizer.step()
                losses.append(value.item())
            schedule.step()
        seconds = process_time() - start
        accuracy, chance = _tested(module, data), 1 / data.num_classes
        error = f"collapsed: accuracy {accuracy:.1%}" if accuracy < 2 * chance else None
        return {"accuracy": accuracy, "loss": statistics.fmean(losses), "seconds": seconds, "error": error}
    except (NonFiniteError, RuntimeError, ArithmeticError) as error:
        return {"accuracy": None, "loss": None, "seconds": None, "error": str(error).split("\n")[0]}


@cache
def _fewer(name: str, size: int) -> Splits:
    """The first training images and all test images, prepared as for testing, once for all runs of a process."""
    import torch
    from torch.utils.data import TensorDataset

    from datamodules.datasets import create_datamodule

    data = create_datamodule(name, image_size=size)
    data.setup()
    train: Any = data.splits.train
    test: Any = data.splits.test

    def tensors(images: Any, count: int) -> TensorDataset:
        pairs = [images.source[position] for position in range(count)]
        prepared = torch.stack([test.transform(image) for image, _ in pairs])
        return TensorDataset(prepared, torch.tensor([label for _, label in pairs]))

    tested = tensors(test, len(test))
    return data.splits._replace(train=tensors(train, FEWER[name]), val=tested, test=tested)


def _tested(module: Any, data: Any) -> float:
    import torch

    module.eval()
    right = total = 0
    with torch.no_grad():
        for images, labels in data.test_dataloader():
            right += int((module(images).argmax(1) == labels).sum())
            total += len(labels)
    return right / total


def perform(pending: list[Case], file: Path, workers: int) -> None:
    """Run what is pending, each in a process of its own kind, one line of ``file`` as soon as each is done."""
    context = multiprocessing.get_context("spawn")
    with Progress() as progress, ProcessPoolExecutor(workers, mp_context=context) as pool, file.open("a") as lines:
        task = progress.add_task("runs", total=len(pending))
        futures = {pool.submit(run, case): case for case in pending}
        for future in as_completed(futures):
            lines.write(json.dumps({**asdict(futures[future]), **future.result()}) + "\n")
            lines.flush()
            progress.advance(task)


def read(file: Path) -> dict[Case, dict[str, Any]]:
    """The finished runs."""
    done = {}
    for line in file.read_text().splitlines() if file.exists() else []:
        entry = json.loads(line)
        key = {name: entry.pop(name) for name in ("method", "dataset", "condition", "precision", "seed", "root")}
        done[Case(**key)] = entry
    return done


def records(done: dict[Case, dict[str, Any]]) -> list[RunRecord]:
    """The runs as the report of a sweep sees them."""
    made = []
    for case, result in done.items():
        summary = {
            "method": case.method,
            "seed": case.seed,
            "backbone": "tiny",
            "dataset": case.dataset,
            "status": "ok" if result["error"] is None else "failed",
            "error": result["error"],
            METRIC: result["accuracy"],
            "train_seconds": result["seconds"],
        }
        asked = {"condition": case.condition, "precision": case.precision}
        made.append(RunRecord(Path(f"{case.method}-{case.seed}"), summary, asked))
    return made


def page(rows: list[Row], command: str) -> str:
    """Tables, statistics, and what follows from them in computed sentences."""
    import torch

    groups = [(named(group), group) for _, group in comparisons(rows)]
    parts = [
        "# Which method? A study",
        f"`{command}`, {date.today()}, torch {torch.__version__}. Backbone `tiny` (64 channels), {EPOCHS} epochs, "
        f"SGD, learning rate {LR}, divided by 10 after epochs {MILESTONES[0]} and {MILESTONES[1]}, batches of "
        f"{BATCH}, images of {SIZE} pixels (8 x 8 positions). Conditions: rank-deficient, images of 32 pixels (4 x 4 "
        "positions); tiny batch, the same in batches of 4, 3 epochs; large rate, the same with learning rate 1. Test "
        "accuracy in %, mean ± standard deviation over the seeds that finished and did not collapse (fewer than twice "
        "as many right as guessing would give); seconds are the processor's, one thread. "
        + " ".join(_fewer_said(name, command) for name in FEWER),
        "![test accuracies](results/study.png)",
    ]
    for name, group in groups:
        parts.append(f"## {name}")
        lines = table(
            ("method", "test accuracy", "finished", "seconds"),
            [
                (row.method, _accuracy(row), f"{len(row.finished)}/{len(row.runs)}", _seconds(row))
                for row in sorted(group, key=lambda row: METHODS.index(row.method))
            ],
        )
        parts += ["\n".join(lines).rstrip(), significance(group).sentence()]
    parts += ["## What follows", "\n".join(f"- {sentence}" for sentence in conclusions(groups))]
    parts += ["## What the evidence does not show", LIMITS]
    return "\n\n".join(parts) + "\n"


def _fewer_said(name: str, command: str) -> str:
    made = f"{command} --dataset {name} --conditions rank-deficient"
    return f"Of {name} (`{made}`), the first {FEWER[name]:,} training images, not augmented."


LIMITS = (
    "Small datasets, one small network trained for minutes from scratch, one learning rate schedule for all "
    "methods, a handful of seeds: nothing here says how methods rank on ImageNet or on fine-grained images, where the "
    "published differences are 0.1 to 1.2 points, less than these experiments resolve. A t-test over so few seeds "
    "assumes normal differences, and finds large differences only; that two methods do not differ here is not evidence "
    "that they are equal. Times are of a network where the layer is a large share; in a ResNet-50 it is a small one. "
    "The runs of halley and those on fashion_mnist were made later, on another machine: their seconds do not compare "
    "with the others'."
)


def conclusions(groups: list[tuple[str, list[Row]]]) -> list[str]:
    """What the numbers say, and no more."""
    found = []
    for name, group in groups:
        failed = {row.method: len(row.failed) for row in group if row.failed}
        if failed:
            listed = ", ".join(f"{method} ({count} of {len(group[0].runs)})" for method, count in failed.items())
            found.append(f"{name}: runs that diverged or collapsed: {listed}.")
        seven = [row for row in group if row.method in SVD and row.finished]
        apart = [pair for pair in significance(seven).pairs if pair.p < LEVEL]
        means = [mean for row in seven if (mean := row.mean()) is not None]
        if means:
            verdict = f"{len(apart)} pairs of them differ" if apart else "no two of them differ"
            within = f"{100 * (max(means) - min(means)):.1f} points"
            found.append(f"{name}: the SVD methods lie within {within}; {verdict} at {LEVEL:.0%}.")
        pairs = {frozenset((pair.first, pair.second)): pair for pair in significance(group).pairs}
        for first, second in (("pade", "average"), ("pade", "isqrt"), (HYBRID, "isqrt"), (HYBRID, "pade")):
            pair = pairs.get(frozenset((first, second)))
            if pair is not None and pair.p < LEVEL:
                sign = pair.difference if pair.first == first else -pair.difference
                side = "above" if sign > 0 else "below"
                found.append(f"{name}: {first} is {100 * abs(sign):.1f} points {side} {second} (p = {pair.p:.2g}).")
    if not any("diverged" in sentence for sentence in found):
        found.append("No run diverged or collapsed under any condition.")
    return found


def named(group: list[Row]) -> str:
    """What the rows of a comparison have in common, in words."""
    asked = group[0].runs[0].asked
    name = f"{group[0].setting['dataset']}, {asked['condition']}"
    return name + ("" if asked["precision"] == "mixed" else f", {asked['precision']}")


def _accuracy(row: Row) -> str:
    mean, spread = row.mean(), row.spread()
    if mean is None:
        return ""
    return f"{100 * mean:.2f}" + ("" if spread is None else f" ± {100 * spread:.2f}")


def _seconds(row: Row) -> str:
    mean = row.mean("train_seconds")
    return "" if mean is None else f"{mean:.1f}"


def figure(rows: list[Row]) -> Figure:
    """Every condition a panel, every method a line: seeds, mean, standard deviation."""
    from matplotlib.figure import Figure

    from lightning_modules.plots.style import method_styles
    from lightning_modules.report.picture import accuracies

    groups = [(named(group), group) for _, group in comparisons(rows)]
    columns = 2 if len(groups) > 1 else 1
    lines = -(-len(groups) // columns)
    picture = Figure(figsize=(6 * columns, 3.4 * lines), layout="constrained")
    panels = picture.subplots(lines, columns, squeeze=False).ravel()
    styles = method_styles(METHODS)
    for axes in panels[len(groups) :]:
        axes.set_visible(False)
    for axes, (name, group) in zip(panels, groups, strict=False):
        ranked = sorted(group, key=lambda row: METHODS.index(row.method))
        accuracies(axes, ranked, [row.name for row in ranked], [styles[row.method] for row in ranked])
        axes.set_title(name, loc="left", fontsize=11)
    return picture


def main(arguments: list[str] | None = None) -> None:
    """Run what is missing, then write the page."""
    parser = argparse.ArgumentParser("benchmarks.study", description=__doc__.splitlines()[0])
    parser.add_argument("--seeds", type=int, default=SEEDS)
    parser.add_argument("--workers", type=int, default=multiprocessing.cpu_count())
    parser.add_argument("--dataset", help="this dataset instead, under the standard condition unless others are named")
    parser.add_argument("--root", help="folder of that dataset")
    parser.add_argument("--methods", nargs="+", choices=METHODS, default=METHODS)
    parser.add_argument("--conditions", nargs="+", choices=CONDITIONS, default=None)
    parser.add_argument("--report", action="store_true", help="run nothing")
    parser.add_argument("--out", type=Path, default=HERE, help="folder of study.md and results/")
    args = parser.parse_args(arguments)
    (args.out / "results").mkdir(parents=True, exist_ok=True)
    file = args.out / "results" / "study.jsonl"
    wanted: Iterable[Case] = cases(args.seeds)
    conditions = args.conditions or tuple(CONDITIONS)
    if args.dataset:
        conditions = args.conditions or ("standard",)
        triples = itertools.product(range(args.seeds), conditions, args.methods)
        wanted = [Case(method, args.dataset, name, "mixed", seed, args.root) for seed, name, method in triples]
    chosen = [case for case in wanted if case.method in args.methods and case.condition in conditions]
    done = read(file)
    if not args.report:
        perform([case for case in chosen if case not in done], file, args.workers)
        done = read(file)
    rows = rows_of(records(done))
    figure(rows).savefig(args.out / "results" / "study.png", dpi=130)
    (args.out / "study.md").write_text(page(rows, "python -m benchmarks.study"))
    print(args.out / "study.md")


if __name__ == "__main__":
    main()
