"""What a run is: a directory, a configuration, and where in its training it starts. Free of torch."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any


@dataclass(frozen=True)
class Run:
    """One training, test, export, ... in one directory.

    Attributes:
        directory: where its files are.
        config: its resolved configuration.
        published: whether its ``ckpt_path`` is a published checkpoint: weights alone, without a run behind them.
        sweep: name of the sweep it is a job of.
        initial: checkpoint of the first of two stages, whose weights the second one starts from.
        steps_done: optimizer steps that were done when the checkpoint was written from which it goes on; 0: a new run,
            None: nothing is trained.
        rows_done: rows that metrics.csv had then, if that was inside an epoch.
        checkpoint_stage: 1 or 2, the stage in which the checkpoint was written that it goes on from; None: there is no
            such checkpoint, or its run had one stage.
        stage: 1 or 2, which of two stages this run is; None: there is one stage.
        stages: of a run that is one of two stages, the configuration of both together.
    """

    directory: Path
    config: dict[str, Any]
    steps_done: int | None = 0
    rows_done: int | None = None
    checkpoint_stage: int | None = None
    stage: int | None = None
    stages: dict[str, Any] | None = None
    published: bool = False
    initial: Path | None = None
    sweep: str | None = None

    @property
    def method(self) -> str:
        """Name of the pooling method."""
        return str(self.config["method"]["name"])

    @property
    def backbone(self) -> str:
        """Name of the backbone."""
        return str(self.config["backbone"]["name"])

    @property
    def dataset(self) -> str:
        """Name of the dataset."""
        return str(self.config["data"]["name"])

    @property
    def seed(self) -> int:
        """Seed of the run."""
        return int(self.config["seed"])

    @property
    def known(self) -> dict[str, Any]:
        """What `lightning_modules.run.summary.Summary` says of it from the start."""
        return {"method": self.method, "backbone": self.backbone, "dataset": self.dataset, "seed": self.seed}

    @property
    def name(self) -> str:
        """METHOD-BACKBONE-DATASET-sSEED, and what a sweep varies, or the trial; a hybrid run has FIRST+SECOND."""
        second = self.config.get("switch", {}).get("to")
        method = self.method if second is None else f"{self.method}+{second}"
        place = f"-{self.backbone}-{self.dataset}-s{self.seed}"
        _, _, varied = self.directory.name.partition(f"{place}-") if self.sweep else ("", "", "")
        trial = (self.config.get("search") or {}).get("trial")
        varied = varied if trial is None else f"trial{trial}"
        return f"{method}{place}" + (f"-{varied}" if varied else "")
