"""The page of `benchmarks.border`: where methods leave the exact derivative, and what training makes of it."""

from __future__ import annotations

import itertools
import math
import statistics
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from scipy import stats

from benchmarks.border_gradients import ERRATA, KINDS, LIBRARY, SWEEPS
from benchmarks.border_training import CONDITIONS, EPOCHS, FROZEN, MENDED_UNDER, TEST, TRAIN, cases
from benchmarks.border_training import KINDS as KINDS_OF_TRAINING
from benchmarks.finetuning_study import listed
from benchmarks.paired import difference, holm
from benchmarks.report import table
from lightning_modules.report.significance import LEVEL

COMMAND = "python -m benchmarks.border"
APART = 0.1  # relative error from which a gradient counts as another one
BASE = ("library", "lyapunov")
Run = dict[str, Any]


class Cell(NamedTuple):
    """A method of a kind under a condition, beside the exact derivative with the same seeds.

    Attributes:
        kind, method, condition: which.
        accuracies: by seed, in the order of the seeds; a run that failed counts as 0.
        failed: how many of them failed.
        clipped: mean share of steps whose gradient was clipped.
        difference: mean difference in accuracy from the exact derivative; None: it is that.
        p: see `_p`, with Holm's adjustment over the condition.
    """

    kind: str
    method: str
    condition: str
    accuracies: list[float]
    failed: int
    clipped: float
    difference: float | None
    p: float | None


def write(gradients: dict[str, Any], runs: list[Run], out: Path) -> Path:
    """Write border.md and its pictures into ``out``; the path of the page."""
    from benchmarks.border_figures import figures

    found = cells(runs)
    for name, figure in figures(gradients["sweeps"], found).items():
        figure.savefig(out / "results" / f"{name}.png", dpi=150)
    file = out / "border.md"
    file.write_text(page(gradients, found))
    return file


def cells(runs: list[Run]) -> list[Cell]:
    """All cells of which there are two seeds or more, over the seeds that are complete."""
    seeds = [seed for seed in sorted({run["seed"] for run in runs}) if _complete(runs, seed)]
    by_cell: dict[tuple[str, str, str], list[Run]] = {}
    for run in sorted(runs, key=lambda run: int(run["seed"])):
        if run["seed"] in seeds:
            by_cell.setdefault((run["condition"], run["kind"], run["method"]), []).append(run)
    found = []
    for condition in CONDITIONS:
        keys = [key for key in by_cell if key[0] == condition]
        values = {key: [run["accuracy"] or 0.0 for run in by_cell[key]] for key in keys}
        base = values.get((condition, *BASE))
        others = [key for key in keys if key[1:] != BASE] if len(seeds) > 1 else []
        adjusted = dict(zip(others, holm([_p(values[key], base or []) for key in others]), strict=True))
        for key in keys if len(seeds) > 1 else []:
            change = difference(values[key], base or []).mean if key in adjusted else None
            failed = sum(run["error"] is not None for run in by_cell[key])
            clipped = statistics.fmean(run.get("clipped", 1.0) for run in by_cell[key])
            found.append(Cell(key[1], key[2], condition, values[key], failed, clipped, change, adjusted.get(key)))
    return found


def _complete(runs: list[Run], seed: int) -> bool:
    return len([run for run in runs if run["seed"] == seed]) == len(list(cases(1)))


def _p(values: Sequence[float], base: Sequence[float]) -> float:
    """The larger p value of a paired t-test over seeds and of a test over images, which are the same for all seeds.

    Over images the two accuracies are taken as independent, which asks for larger differences than pairing them would.
    """
    if list(values) == list(base):
        return 1.0
    change = [a - b for a, b in zip(values, base, strict=True)]
    over_seeds = float(stats.ttest_rel(values, base).pvalue) if len(set(change)) > 1 else 0.0
    shares = (statistics.fmean(values), statistics.fmean(base))
    error = math.sqrt(sum(share * (1 - share) for share in shares) / TEST)
    over_images = 2 * float(stats.norm.sf(abs(shares[0] - shares[1]) / error)) if error else 0.0
    return max(over_seeds, over_images)


def page(gradients: dict[str, Any], found: list[Cell]) -> str:
    """All of it."""
    seeds = len(found[0].accuracies) if found else 0
    parts = [
        "# When does the gradient matter?",
        f"`{COMMAND}`. {INTRODUCTION}",
        "## Gradients",
        GRADIENTS,
        "![gradient errors](results/border.png)",
        f"Where a method's error first exceeds {APART:.0%}, going from the harmless end of each sweep, in float64 "
        "(historical in float32 in brackets, if elsewhere); empty: nowhere.",
        _borders(gradients["sweeps"]),
        "Which mistake it is: the error of the historical kernel with all of them, each alone, and none, in float64.",
        _attribution(gradients["attribution"]),
        "## Training",
        f"{TRAINING} {seeds} seeds.",
        "![test accuracies](results/border_training.png)",
        _training(found),
        f"The historical kernel without its mistakes, in the same precision, under {len(MENDED_UNDER)} conditions; "
        "accuracy in %, p of mended against the exact derivative:",
        _mended(found),
        "## What follows",
        "\n".join(f"- {sentence}" for sentence in conclusions(gradients["sweeps"], found)),
        "## What the evidence does not show",
        LIMITS,
    ]
    return "\n\n".join(parts) + "\n"


def _line(text: str) -> str:
    return " ".join(text.split())


INTRODUCTION = _line("""
    The library's methods beside the historical kernel (`benchmarks/historical.py`): the reference implementation's
    formulas with its mistakes, as its published layer values have them (reproduced to 1e-5 or better), each of
    which can be mended: K of equal sign at ties and overflow repaired over the batch; an absolute eps to which null
    eigenvalues, and those topn drops, are raised, with the gradient 0.5/sqrt(eps); a centring matrix in float32;
    pi's projection onto nothing.
""")
GRADIENTS = _line("""
    Relative error of dℓ/dx against the exact derivative, the worst of four samples, dℓ/dy being noise. Clusters and
    condition: 16 channels, 36 positions, eigenvalues prescribed. Rank and scale: 32 channels behind a ReLU. 1 is
    the size of the gradient itself: a method that gives 0.
""")
TRAINING = _line(f"""
    Digits (scikit-learn's, {TRAIN:,} to train and {TEST} to test) through fixed random filters; trained are 24 to 8
    channels before the layer and the classifier behind it, {EPOCHS} epochs of SGD with gradients clipped at 5, as
    published. With gaps, weights are orthonormal and each image has 20 eigenvalues of about 1, so that four stay as
    close as said. {FROZEN}: the layer's gradient is not used at all. A difference counts where both a paired t-test
    over seeds and a test over the images find it.
""")
LIMITS = _line("""
    Gradients: random eigenvectors and noise as dℓ/dy. Training: a small head, for seconds, on digits; nothing here
    is measured on ImageNet, and the published trainings were not repeated, so that which of their instabilities
    came from which mistake is inferred, not observed. Tests over few seeds and images find large differences only.
""")


def first_apart(values: Sequence[float], errors: Sequence[float], sweep: str) -> float | None:
    """The value of the sweep at which the error is first above APART, from its harmless end; None: nowhere."""
    pairs = list(zip(values, errors, strict=True))
    if sweep in ("rank", "scale"):  # from many positions, from large features
        pairs.reverse()
    return next((value for value, error in pairs if not error <= APART), None)


def _borders(sweeps: list[dict[str, Any]]) -> str:
    rows = []
    for kind in ("library, float64", "historical, float64"):
        for method in dict.fromkeys(row["method"] for row in sweeps if row["kind"] == kind):
            cells_of = []
            for sweep in SWEEPS:
                here, single = (
                    _first(sweeps, sweep, each, method) for each in (kind, kind.replace("float64", "float32"))
                )
                note = f" ({single})" if kind.startswith("historical") and single != here and single else ""
                cells_of.append(f"{here}{note}")
            rows.append((kind.partition(",")[0], method, *cells_of))
    head = ("kernel", "method", "gaps from", "condition from", "positions (of 32 channels) from", "scale from")
    return "\n".join(table(head, rows)).rstrip()


def _first(sweeps: list[dict[str, Any]], sweep: str, kind: str, method: str) -> str:
    for row in sweeps:
        if (row["sweep"], row["kind"], row["method"]) == (sweep, kind, method):
            value = first_apart(row["values"], row["errors"], sweep)
            return "" if value is None else f"{value:.0e}" if sweep != "rank" else f"{value:g}"
    return ""


def _attribution(rows: list[dict[str, Any]]) -> str:
    head = ("case", "method", *(f"{name}" for name in ERRATA))
    lines = [(row["case"], row["method"], *(f"{row[name]:.1e}" for name in ERRATA)) for row in rows]
    return "\n".join(table(head, lines)).rstrip()


def _training(found: list[Cell]) -> str:
    """Cells that differ from the exact derivative."""
    rows = [
        (cell.condition, cell.kind, cell.method, f"{100 * statistics.fmean(cell.accuracies):.1f}",
         f"{100 * (cell.difference or 0):+.1f}", f"{cell.p:.1g}", f"{100 * cell.clipped:.0f}", str(cell.failed))
        for cell in apart(found)
    ]  # fmt: skip
    if not rows:
        return f"No cell differs from the exact derivative at {LEVEL:.0%}."
    head = ("condition", "kernel", "method", "accuracy %", "points", "p", "clipped steps %", "failed")
    heading = f"Those that differ from `lyapunov` at {LEVEL:.0%} (Holm's adjustment in each condition):"
    return "\n".join([heading, "", *table(head, rows)]).rstrip()


def _mended(found: list[Cell]) -> str:
    by_place = {cell[:3]: cell for cell in found}
    rows = []
    for condition, method in itertools.product(MENDED_UNDER, KINDS_OF_TRAINING["mended"]):
        places = [("historical", method), ("mended", method), ("library", method), BASE]
        some = [by_place.get((*place, condition)) for place in places]
        accuracies = ["" if cell is None else f"{100 * statistics.fmean(cell.accuracies):.1f}" for cell in some]
        p = None if some[1] is None else some[1].p
        rows.append((condition, method, *accuracies, "" if p is None else f"{p:.1g}"))
    head = ("condition", "method", "historical", "mended", "library", "exact derivative", "p")
    return "\n".join(table(head, rows)).rstrip()


def apart(found: Iterable[Cell]) -> list[Cell]:
    """Those whose accuracy is not that of the exact derivative."""
    return [cell for cell in found if cell.p is not None and cell.p < LEVEL]


def conclusions(sweeps: list[dict[str, Any]], found: list[Cell]) -> list[str]:
    """What the numbers say, and no more."""
    worst = {
        kind: max(((max(row["errors"]), row) for row in sweeps if row["kind"] == kind), key=lambda pair: pair[0])
        for kind in KINDS
    }
    said = [
        "Largest gradient error anywhere in the sweeps: "
        + "; ".join(f"{kind} {error:.2g} ({row['method']}, {row['sweep']})" for kind, (error, row) in worst.items())
        + "."
    ]
    never = [
        method
        for method in LIBRARY
        if all(
            error <= APART
            for row in sweeps
            if row["kind"] == "library, float64" and row["method"] == method and row["sweep"] != "condition"
            for error in row["errors"]
        )
    ]
    said.append(
        f"Never more than {APART:.0%} from the exact derivative in the library, whatever gaps, rank and scale are: "
        f"{listed(never)}."
    )
    differ = apart(found)
    for kind in KINDS_OF_TRAINING:
        lost = [cell for cell in differ if cell.kind == kind and cell.method != FROZEN and (cell.difference or 0) < 0]
        gained = [cell for cell in differ if cell.kind == kind and cell.method != FROZEN and (cell.difference or 0) > 0]
        for verb, some in (("below", lost), ("above", gained)):
            by_method: dict[str, list[Cell]] = {}
            for cell in some:
                by_method.setdefault(cell.method, []).append(cell)
            told = [
                f"{method} ({'; '.join(f'{cell.condition} {100 * (cell.difference or 0):+.1f}' for cell in cells_of)})"
                for method, cells_of in by_method.items()
            ]
            if told:
                said.append(f"Training, {kind}: {verb} the exact derivative are {listed(told)}.")
        if not lost and not gained:
            said.append(f"Training, {kind}: no method differs from the exact derivative under any condition.")
    worth = [cell.condition for cell in differ if cell.method == FROZEN]
    if worth:
        said.append(f"Leaving out the layer's gradient costs accuracy under: {listed(worth)}.")
    else:
        said.append(
            "Leaving out the layer's gradient is not told from using it under any condition: small errors of it cannot "
            "show here, and huge ones show because clipping them stops the classifier too."
        )
    return said
