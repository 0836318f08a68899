"""What runs have in common and where they differ: runs that differ in nothing but their seeds are replicates.

Every option of a run's configuration counts, but for those that change nothing of its results (`WITHOUT_EFFECT`).
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from gcp.options import written
from lightning_modules.report.files import printable
from lightning_modules.report.runs import RunRecord
from lightning_modules.settings.callbacks import CALLBACKS

WITHOUT_EFFECT = (
    "seed", "mode", "path", "plugins", "published", "logger", "sweep", "search", "report", "export", "shards",
    "analysis", "callbacks", "hydra", "data.path",
)  # fmt: skip
EFFECTIVE = (
    "callbacks.monitor",
    "callbacks.monitor_mode",
)  # of the sections above: they decide which weights are tested
IN_TABLES = (
    "method",
    "method.name",
    "backbone",
    "backbone.name",
    "dataset",
    "data.name",
    "switch.to",
)  # have columns anyway
NAMED = ("method", "backbone", "data", "optimizer", "schedule")  # sections whose options depend on their name
ACTIVE_BY = {"switch": "to", "second_stage": "epochs"}  # sections that do nothing without this option
NOTHING = ("null", "{}", "[]")  # as good as not given


class Setting(NamedTuple):
    """The options of a run in which it differs from other runs.

    Attributes:
        method: name of the method.
        variant: the method's own options that vary.
        others: backbone, dataset, and all other options that vary.
    """

    method: str
    variant: dict[str, str]
    others: dict[str, str]

    @property
    def key(self) -> tuple[Any, ...]:
        """Equal for replicates."""
        return (self.method, *sorted(self.variant.items()), *sorted(self.others.items()))


def settings(runs: Sequence[RunRecord]) -> list[Setting]:
    """The setting of each run, among the runs on its dataset.

    Options are named as in the arguments the runs were started with, if these tell the runs apart exactly as their
    configurations do (``recipe=A`` rather than the ten options it sets); else as in the configurations.
    """
    by_dataset: dict[str, list[int]] = defaultdict(list)
    for position, run in enumerate(runs):
        by_dataset[run.dataset].append(position)
    found: dict[int, Setting] = {}
    for positions in by_dataset.values():
        group = [runs[position] for position in positions]
        for position, run, options in zip(positions, group, _varying(group), strict=True):
            variant = {name: value for name, value in options.items() if name.startswith("method.")}
            others = {name: value for name, value in options.items() if name not in variant}
            found[position] = Setting(run.method, variant, {"backbone": run.backbone, "dataset": run.dataset, **others})
    return [found[position] for position in range(len(runs))]


def _varying(runs: list[RunRecord]) -> list[dict[str, str]]:
    """Of each run, the options in which it differs from another one."""
    asked, configured = [_asked(run) for run in runs], [_configured(run) for run in runs]
    names = [(run.method, run.backbone) for run in runs]
    by_argument, by_configuration = _different(asked, runs), _different(configured, runs)
    known = [position for position, run in enumerate(runs) if run.config]
    if _same_partition([(names[k], by_argument[k]) for k in known], [(names[k], by_configuration[k]) for k in known]):
        return by_argument
    columns = {name for options in by_configuration for name in options}
    return [
        options if run.config else {name: value for name, value in arguments.items() if name in columns}
        for run, options, arguments in zip(runs, by_configuration, asked, strict=True)
    ]


def _different(options: list[dict[str, str]], runs: list[RunRecord]) -> list[dict[str, str]]:
    """The ``options`` without those that have one value; an option of a named section, among runs with that name."""
    values: dict[tuple[str, str], set[str | None]] = defaultdict(set)
    for name in sorted({name for each in options for name in each}):
        for each, run in zip(options, runs, strict=True):
            values[name, _owner(name, run)].add(each.get(name))
    return [
        {name: value for name, value in each.items() if len(values[name, _owner(name, run)]) > 1}
        for each, run in zip(options, runs, strict=True)
    ]


def _owner(name: str, run: RunRecord) -> str:
    section = name.partition(".")[0]
    if section not in NAMED or name in (section, f"{section}.name"):
        return ""
    return run.method if section == "method" else str(run.section(section).get("name", ""))


def _same_partition(first: Iterable[Any], second: Iterable[Any]) -> bool:
    pairs = {(repr(a), repr(b)) for a, b in zip(first, second, strict=True)}
    return len({a for a, _ in pairs}) == len({b for _, b in pairs}) == len(pairs)


def _asked(run: RunRecord) -> dict[str, str]:
    """The arguments that make the setting."""
    options = {printable(name): printable(value) for name, value in run.asked.items() if _counts(name)}
    options = {name: value for name, value in options.items() if value not in NOTHING}
    return _with_checkpoint(options, run, run.asked.get("ckpt_path"))


def _configured(run: RunRecord) -> dict[str, str]:
    """The whole configuration that makes the setting, by dotted names."""
    active = {key: value for key, value in run.config.items() if _active(run, key)}
    options = {printable(name): printable(value) for name, value in flat(active) if _counts(name)}
    options = {name: value for name, value in options.items() if value not in NOTHING}
    if "data.seed" not in run.asked:
        options.pop("data.seed", None)  # it is the run's own seed
    if run.mode != run.summary.get("mode", run.mode):  # tested again in its own directory: as the test was asked for
        options |= {name: value for name, value in _asked(run).items() if name in options}
    return _with_checkpoint(options, run, run.config.get("ckpt_path"))


def _with_checkpoint(options: dict[str, str], run: RunRecord, path: object) -> dict[str, str]:
    """A run that starts from another one's checkpoint is another setting; one that goes on with its own is not."""
    options.pop("ckpt_path", None)
    if path is None or path == "last":
        own = True
    else:
        file = Path(str(path))
        own = run.directory.name in (file.name, file.parent.name, file.parent.parent.name)
    if not own:
        options["ckpt_path"] = printable(path)
    if run.mode == "test":
        options["mode"] = "test"
    return options


def _active(run: RunRecord, section: str) -> bool:
    return section not in ACTIVE_BY or run.section(section).get(ACTIVE_BY[section]) is not None


def _counts(name: str) -> bool:
    if name in IN_TABLES:
        return False
    return (
        name in EFFECTIVE
        or _decides(name)
        or not any(name == each or name.startswith(f"{each}.") for each in WITHOUT_EFFECT)
    )


def _decides(name: str) -> bool:
    """Whether it is an option of a callback that changes the results."""
    section, _, rest = name.partition(".")
    callback, _, option = rest.partition(".")
    watches = callback in CALLBACKS and CALLBACKS.get(callback).watches
    return section == "callbacks" and option != "" and not watches


def flat(section: Mapping[Any, Any], prefix: str = "") -> Iterable[tuple[str, str]]:
    """Dotted names and values, written as on the command line."""
    for key, value in section.items():
        if isinstance(value, dict) and value:
            yield from flat(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", written(value)
