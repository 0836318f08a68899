"""Hybrid training: a run that changes its pooling method (the protocol of Song et al., ICCV 2021)."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from typing import Any

import pytorch_lightning as pl
import torch
from pytorch_lightning.callbacks import Callback
from pytorch_lightning.utilities.rank_zero import rank_zero_only
from torch import Tensor, nn

from gcp.diagnostics.condition import condition_number
from gcp.errors import OptionError
from gcp.pooling.base import MatrixPooling
from lightning_modules import metric_names as names
from lightning_modules.classifier import Classifier
from lightning_modules.distributed.gathering import gathered
from lightning_modules.epochs import shown
from lightning_modules.loggers.media import log_numbers
from lightning_modules.settings.training import SwitchOptions
from lightning_modules.switching import new_pooling, pooling_of, second_method, set_method

SAMPLES = 8  # images of a batch whose condition number is measured


def due_epoch(options: SwitchOptions, schedule: Mapping[str, Any]) -> int | None:
    """Epoch, counted from 0, that begins with the second method; None: the condition number decides.

    Raises OptionError if the schedule has no last decay.
    """
    if options.at == "epoch":
        return options.epoch
    if options.at == "condition":
        return None
    milestones = schedule.get("milestones")
    if not milestones:
        raise OptionError(
            "switch.at=last_decay needs a schedule with milestones, and there are none; set schedule=step and "
            "schedule.milestones, or switch.at=epoch"
        )
    return int(max(milestones))


class MethodSwitch(Callback):
    """Exchanges the pooling layer at the start of an epoch, and nothing else: weights and optimizer state go on.

    The switch is part of the checkpoints: `state_dict` says whether and when it happened, and the hyperparameters of
    the module name the method the weights are for.

    Args:
        module: what will be trained, with the first method.
        options: when to switch and to what.

    Raises:
        OptionError: the second method cannot take the first one's place, or the schedule has no last decay.

    Attributes:
        switched: "epoch" (Lightning's, from 0) and "step" of the switch, and "condition" if that decided; None before.
    """

    def __init__(self, module: Classifier, options: SwitchOptions) -> None:
        self.options = options
        self.method = second_method(module.hparams["method"], options)
        self.due = due_epoch(options, module.hparams["schedule"])
        self.switched: dict[str, Any] | None = None
        self._measured: dict[str, Any] = {"epoch": -1, "values": []}
        self._conditions: list[float] = []  # condition numbers of the present batch, in this process
        self._hook: Any = None
        new_pooling(module.model, self.method)  # what is wrong with it shows before training

    @property
    def summary_entries(self) -> dict[str, Any]:
        """Entries of ``summary.json``: the first epoch with the second method, steps before it, what decided."""
        switched = self.switched or {}
        return {
            names.SWITCH_EPOCH: shown(switched["epoch"]) if switched else None,
            names.SWITCH_STEP: switched.get("step"),
            names.SWITCH_CONDITION: switched.get("condition"),
        }

    def on_fit_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Print a warning if the switch is due after the last epoch."""
        if self.due is not None and trainer.max_epochs is not None and self.due >= trainer.max_epochs:
            _say(
                f"the switch to {self.method['name']} is due after {self.due} epochs and will not happen: "
                f"trainer.max_epochs={trainer.max_epochs}"
            )

    def on_train_epoch_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Switch if it is due."""
        epoch = trainer.current_epoch
        condition = self._median(epoch - 1)
        if condition is not None:
            log_numbers(trainer.loggers, {names.SWITCH_CONDITION: condition}, trainer.global_step)
        if self.switched is not None:
            return
        if self.due is not None:
            time_has_come = epoch >= self.due
        else:
            time_has_come = condition is not None and condition < (self.options.condition or 0)
        if time_has_come:
            assert isinstance(pl_module, Classifier)
            set_method(pl_module, self.method)
            self.switched = {"epoch": epoch, "step": trainer.global_step, "condition": condition}
            log_numbers(trainer.loggers, {names.SWITCH_EPOCH: float(shown(epoch))}, trainer.global_step)

    def on_train_batch_start(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, batch: Any, batch_idx: int
    ) -> None:
        """Measure the last batches of an epoch, if measurements decide and there is something to decide."""
        undecided = self.due is None and self.switched is None
        if undecided and trainer.num_training_batches - batch_idx <= self.options.batches:
            if self._measured["epoch"] != trainer.current_epoch:
                self._measured = {"epoch": trainer.current_epoch, "values": []}
            self._hook = pooling_of(pl_module.model).register_forward_pre_hook(self._measure)  # type: ignore[arg-type]  # narrower than any hook

    def on_train_batch_end(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Stop measuring: evaluation and other batches cost nothing."""
        if self._hook is None:
            return
        self._remove_hook()
        values = torch.tensor(self._conditions, dtype=torch.float64, device=pl_module.device)
        self._conditions = []
        self._measured["values"] += gathered(values).flatten().tolist()  # each checkpoint has those of all processes

    def on_exception(self, trainer: pl.Trainer, pl_module: pl.LightningModule, exception: BaseException) -> None:
        """Leave no hook behind."""
        self._remove_hook()

    def state_dict(self) -> dict[str, Any]:
        """The switch, if it happened, and the measurements of the epoch; plain numbers and words."""
        return {"switched": self.switched, "method": self.method, "measured": self._measured}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Restore what `state_dict` gave; the network itself comes with its checkpoint, see `load_weights`.

        Raises OptionError if the run has switched to another method than the one asked for now.
        """
        if state_dict["switched"] is not None and state_dict["method"] != self.method:
            raise OptionError(
                f"the run switched to {state_dict['method']} before this checkpoint, and now switch asks for "
                f"{self.method}; leave the options of switch out"
            )
        self.switched, self._measured = state_dict["switched"], state_dict["measured"]

    def _measure(self, pooling: nn.Module, inputs: tuple[Tensor]) -> None:
        features = inputs[0][:SAMPLES].detach()
        if isinstance(pooling, MatrixPooling):
            features = pooling.with_plain_covariance(features)
        self._conditions += condition_number(features).tolist()

    def _median(self, epoch: int) -> float | None:
        """Median over the devices of what was measured in ``epoch``; None if nothing was."""
        if self._measured["epoch"] != epoch:
            return None
        median = torch.tensor(self._measured["values"], dtype=torch.float64).nanmedian().item()
        return None if median != median else median

    def _remove_hook(self) -> None:
        if self._hook is not None:
            self._hook.remove()
            self._hook = None


@rank_zero_only
def _say(sentence: str) -> None:
    print(sentence, file=sys.stderr)
