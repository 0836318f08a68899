"""What a search has found: the best values, how it went, which options mattered; as parts of a page, CSV and a line."""

from __future__ import annotations

import math
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from markupsafe import Markup
from matplotlib.figure import Figure

from lightning_modules.plots.saving import data_uri
from lightning_modules.plots.style import COLOURS, labels, plain_logarithmic, tidy
from lightning_modules.report.page import (
    Cell,
    Column,
    Link,
    Table,
    TableRow,
    figures,
    heading,
    number_cell,
    numbers,
    sentence,
    table,
)
from lightning_modules.run.storage import write_csv
from lightning_modules.search.trials import NOTED, SPACE, as_run

CSV = "search.csv"
WIDTH, HEIGHT = 4.8, 3.2  # inches
LONG = 25  # rows of a table, beyond which it scrolls in itself
STATES = {
    "COMPLETE": ("o", COLOURS[0], "finished"),
    "PRUNED": ("x", COLOURS[5], "pruned"),
    "FAIL": ("|", "0.4", "failed"),
}  # by Optuna's name: marker, colour and ours


def best_of(study: Any) -> Any | None:
    """The best trial that came to its end; None: there is none."""
    done = [each for each in study.get_trials(deepcopy=False) if each.state.name == "COMPLETE"]
    return study.best_trial if done else None


def importances(study: Any) -> dict[str, float]:
    """How much of the differences between trials each option explains (fANOVA); empty where that cannot be told."""
    from optuna.importance import FanovaImportanceEvaluator, get_param_importances

    done = [each for each in study.get_trials(deepcopy=False) if each.state.name == "COMPLETE"]
    if len(done) < 4 or len({each.value for each in done}) < 2:
        return {}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        found: dict[str, float] = get_param_importances(study, evaluator=FanovaImportanceEvaluator(seed=0))
    return {name: value for name, value in found.items() if math.isfinite(value)}


def parts(study: Any, metric: str) -> Iterator[Markup]:
    """The search on a page."""
    trials = study.get_trials(deepcopy=False)
    best, weights = best_of(study), importances(study)
    yield heading("Search")
    if best is not None:
        values = as_run(best.params)
        yield numbers({f"best {metric}": f"{best.value:.4f}", "trial": str(best.number), **values})
    pictures = [Link(f"{metric} of each trial and the best so far", data_uri(history_figure(trials, metric, study)))]
    if weights:
        pictures.append(Link("importance of the options", data_uri(importance_figure(weights))))
    pictures += [
        Link(f"{metric} by {name}", data_uri(figure)) for name in study.user_attrs[NOTED][SPACE]
        if (figure := slice_figure(trials, name, metric)) is not None
    ]  # fmt: skip
    yield figures(pictures)
    if not weights:
        yield sentence("The importance of options is known after four finished trials that differ.", "caption")
    content = trials_table(trials, metric)
    yield table(content, len(content.rows) > LONG)


def trials_table(trials: list[Any], metric: str) -> Table:
    """A row for each trial."""
    names = list(dict.fromkeys(name for trial in trials for name in trial.params))
    columns = [Column("trial", "number"), Column("state"), Column(metric, "number", "down"), Column("epochs", "number")]
    columns += [Column(name, "number" if _numeric(trials, name) else "text") for name in names]
    rows = []
    for trial in trials:
        value, last = trial.value, trial.last_step
        cells = [
            number_cell(str(trial.number), trial.number),
            Cell(STATES.get(trial.state.name, ("", "", "at work"))[2]),
            number_cell("" if value is None else f"{value:.4f}", value),
            number_cell("" if last is None else str(last), last),
        ]
        values = as_run(trial.params)
        for name in names:
            text = values.get(name, "")
            cells.append(number_cell(text, trial.params.get(name)) if _numeric(trials, name) else Cell(text))
        rows.append(TableRow(cells))
    return Table(columns, rows)


def write_trials(study: Any, metric: str, file: Path) -> None:
    """All trials as CSV."""
    trials = study.get_trials(deepcopy=False)
    names = list(dict.fromkeys(name for trial in trials for name in trial.params))
    rows = [
        [each.number, each.state.name.lower(), "" if each.value is None else repr(each.value), each.last_step or "",
         *(as_run(each.params).get(name, "") for name in names)]
        for each in trials
    ]  # fmt: skip
    write_csv(file, [["trial", "state", metric, "epochs", *names], *rows])


def history_figure(trials: list[Any], metric: str, study: Any) -> Figure:
    """The value of each trial, and the best so far."""
    figure = Figure(figsize=(WIDTH, HEIGHT), layout="constrained")
    axes: Any = figure.subplots()
    for state, (marker, colour, text) in STATES.items():
        shown = [(each.number, each.value) for each in trials if each.state.name == state and each.value is not None]
        if shown:
            axes.plot(*zip(*shown, strict=True), marker, color=colour, markersize=5, label=text)
    better = max if study.direction.name == "MAXIMIZE" else min
    best: list[tuple[int, float]] = []
    for each in trials:
        if each.state.name == "COMPLETE":
            best.append((each.number, better([each.value, *(value for _, value in best[-1:])])))
    if best:
        axes.step(*zip(*best, strict=True), where="post", color=COLOURS[1], linewidth=1.5, label="best so far")
    axes.set_xlabel("trial")
    axes.set_ylabel(metric)
    if axes.get_legend_handles_labels()[0]:
        axes.legend(fontsize=8, frameon=False)
    tidy(axes)
    axes.xaxis.get_major_locator().set_params(integer=True)
    return figure


def importance_figure(weights: dict[str, float]) -> Figure:
    """A bar for each option, the most important one on top."""
    ordered = sorted(weights.items(), key=lambda each: each[1])
    figure = Figure(figsize=(WIDTH, max(HEIGHT, 0.8 + 0.3 * len(ordered))), layout="constrained")
    axes: Any = figure.subplots()
    axes.barh(labels([name for name, _ in ordered]), [value for _, value in ordered], color=COLOURS[0], height=0.6)
    axes.set_xlabel("importance: share of the variance explained")
    axes.set_xlim(0, 1)
    tidy(axes)
    return figure


def slice_figure(trials: list[Any], name: str, metric: str) -> Figure | None:
    """The value of the finished trials by one option; None: there are none."""
    from optuna.distributions import CategoricalDistribution

    done = [each for each in trials if each.state.name == "COMPLETE" and name in each.params]
    if not done:
        return None
    figure = Figure(figsize=(WIDTH, HEIGHT), layout="constrained")
    axes: Any = figure.subplots()
    kind = done[0].distributions[name]
    if isinstance(kind, CategoricalDistribution):
        choices = list(kind.choices)
        axes.plot([choices.index(each.params[name]) for each in done], [each.value for each in done], "o", alpha=0.7)
        axes.set_xticks(range(len(choices)), labels([str(each) for each in choices], 16))
        axes.set_xlim(-0.5, len(choices) - 0.5)
    else:
        axes.plot([each.params[name] for each in done], [each.value for each in done], "o", alpha=0.7)
        if kind.log:
            plain_logarithmic(axes.xaxis, [each.params[name] for each in done])
    axes.set_xlabel(labels([name])[0])
    axes.set_ylabel(metric)
    tidy(axes)
    return figure


def _numeric(trials: list[Any], name: str) -> bool:
    return all(isinstance(each.params.get(name, 0), (int, float)) for each in trials)
