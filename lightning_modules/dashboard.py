"""A W&B dashboard as code: ``python -m lightning_modules.dashboard --entity NAME`` makes a workspace of the metrics.

Panels are built from the names in `lightning_modules.metric_names`, a section for each part of a name.
"""

from __future__ import annotations

import argparse
import sys
from typing import Any

from gcp.errors import MissingDependencyError
from lightning_modules import metric_names as names
from lightning_modules.loggers.media import STEP
from lightning_modules.settings.loggers import WandbOptions

SECTIONS: dict[str, tuple[str, ...]] = {
    "val": tuple(names.of(names.VAL, each) for each in names.RESULTS),
    "test": tuple(names.of(names.TEST, each) for each in names.RESULTS),
    "train": (names.of(names.TRAIN, names.LOSS_STEP), names.of(names.TRAIN, names.ACCURACY)),
    "spectrum": names.SPECTRUM,
    "grad": names.GRADIENT,
    "time": names.TIME,
}
"""Section of the workspace, and the metrics it has a panel for."""
LOGARITHMIC = {names.CONDITION, names.LARGEST_K, names.SMALLEST_GAP, names.GRAD_ERROR, names.SMOOTHNESS}


def workspace(entity: str, project: str) -> Any:
    """The workspace, not yet saved: runs grouped by method, a line plot for each metric, a bar plot for each of tests.

    Raises MissingDependencyError without wandb-workspaces.
    """
    try:
        import wandb_workspaces.reports.v2 as v2
        import wandb_workspaces.workspaces as workspaces
    except ImportError as error:
        raise MissingDependencyError(
            "a dashboard needs wandb-workspaces; install it: pip install '.[dashboards]'"
        ) from error

    reports: Any = v2  # its stub names nothing

    def panel(name: str) -> Any:
        if name.startswith("test/"):
            return reports.BarPlot(title=name, metrics=[name])
        return reports.LinePlot(title=name, x=STEP, y=[name], log_y=name in LOGARITHMIC)

    sections = [
        workspaces.Section(name=section, panels=[panel(name) for name in metrics], is_open=section in ("val", "test"))
        for section, metrics in SECTIONS.items()
    ]
    runs = workspaces.RunsetSettings(groupby=[workspaces.Config("method.name")])
    return workspaces.Workspace(entity=entity, project=project, name="Methods", sections=sections, runset_settings=runs)


def main(arguments: list[str] | None = None) -> None:
    """Make the workspace and print its address."""
    parser = argparse.ArgumentParser("lightning_modules.dashboard", description=__doc__.splitlines()[0])
    parser.add_argument("--entity", required=True, help="W&B user or team")
    parser.add_argument("--project", default=WandbOptions().chosen_project)
    args = parser.parse_args(arguments)
    import wandb

    if wandb.api.api_key is None:
        sys.exit("error: a dashboard is kept by W&B and needs an account; log in first: wandb login")
    try:
        print(workspace(args.entity, args.project).save().url)
    except MissingDependencyError as error:
        sys.exit(f"error: {error}")


if __name__ == "__main__":
    main()
