"""Options of a search over hyper-parameters. Free of torch."""

from __future__ import annotations

from dataclasses import dataclass

from gcp.options import Options, option
from lightning_modules.settings.callback_options import MONITORS


@dataclass(frozen=True)
class SearchOptions(Options):
    """A search: a sweep whose jobs are trials, each with values that those before it make promising."""

    trials: int | None = option(None, "trials of the search; null: a sweep is every combination of values", minimum=1)
    metric: str | None = option(None, "what is searched for the best of; null: callbacks.monitor", choices=MONITORS)
    sampler: str = option(
        "tpe", "how values are chosen: tpe, the tree-structured Parzen estimator; random", choices=("tpe", "random")
    )
    startup: int = option(10, "trials by chance that come first; none of them is pruned", minimum=1)
    pruner: str | None = option(
        "median",
        "which trials stop early: median, those worse than the median of the others at that epoch; halving, all but "
        "the best of those that came as far; null: none",
        choices=("median", "halving"),
    )
    warmup: int = option(3, "epochs before which no trial is pruned", minimum=1)
    together: int = option(1, "trials that are started together, for launcher=joblib or slurm", minimum=1)
    journal: str | None = option(None, "of one trial: the file of the search, set by the search itself")
    trial: int | None = option(None, "of one trial: its number, set by the search itself", minimum=0)
