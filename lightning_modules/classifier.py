"""The LightningModule: backbone, pooling and classifier with their loss, metrics and optimizer."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import pytorch_lightning as pl
import torch
from pytorch_lightning.plugins.precision import MixedPrecision
from pytorch_lightning.utilities.rank_zero import rank_zero_warn
from torch import Tensor, nn
from torch.optim import Optimizer
from torchmetrics import MeanMetric, Metric, MetricCollection

from gcp.errors import NonFiniteError, OptionError, few
from gcp.model import create_model
from gcp.options import make_options
from gcp.registry import Registry, resolve
from gcp.spectral.lapack import FAILURES
from lightning_modules import metric_names as names
from lightning_modules.epochs import shown
from lightning_modules.loggers.media import log_numbers
from lightning_modules.metrics import BalancedAccuracy, accuracies
from lightning_modules.optimisation.class_weights import WeightedCrossEntropy
from lightning_modules.optimisation.conditioning import Conditioning
from lightning_modules.optimisation.mixing import Mixing
from lightning_modules.optimisation.schedules import schedule
from lightning_modules.settings.entry import Entry
from lightning_modules.settings.optimisation import OPTIMIZERS, SCHEDULES
from lightning_modules.settings.training import TrainingOptions

if TYPE_CHECKING:
    from datamodules.pictures import PictureBatch


class Classifier(pl.LightningModule):
    """Image classification with a pooling network.

    Every argument is a plain number, word or mapping and is saved in the checkpoint, so that
    ``Classifier.load_from_checkpoint(path)`` needs nothing else.

    Args:
        backbone: ``name`` and options of the backbone, ``hidden`` layers of the classifier and ``class_token``.
        method: ``name`` and options of the pooling method, and ``reduced_channels``.
        num_classes: number of classes, at least 2.
        optimizer: ``name`` and options, see `lightning_modules.settings`.
        schedule: ``name`` and options.
        training: options of the loss, of mixed images and of the layer before the covariance, see `TrainingOptions`.
        seed: seed of how images are mixed.
        class_weights: weight of each class in the training loss; None: all the same.
        balanced_metrics: whether balanced accuracy and macro F1 are logged beside accuracy.

    Attributes:
        results: names of the metrics of a stage, without the stage.
        conditioning: what is done to the layer before the covariance.
        test_stage: section the metrics of testing are logged under: "test", or "test_final" for the last epoch's
            weights where others are the best.

    Raises:
        UnknownNameError, OptionError, WeightsError: see `gcp.create_model`.
    """

    def __init__(
        self,
        backbone: Mapping[str, Any],
        method: Mapping[str, Any],
        num_classes: int,
        optimizer: Mapping[str, Any],
        schedule: Mapping[str, Any],
        training: Mapping[str, Any] | None = None,
        seed: int = 0,
        class_weights: Sequence[float] | None = None,
        balanced_metrics: bool = False,
    ) -> None:
        super().__init__()
        self.save_hyperparameters(logger=False)
        backbone_options, method_options = dict(backbone), dict(method)
        self.model = create_model(
            backbone_options.pop("name"),
            method_options.pop("name"),
            num_classes,
            hidden=backbone_options.pop("hidden", None),
            class_token=backbone_options.pop("class_token", None),
            backbone_options=backbone_options,
            **method_options,
        )
        options = make_options(TrainingOptions, training or {}, "section 'training'")
        self.conditioning = Conditioning(self.model, options)
        self.loss = nn.CrossEntropyLoss()
        self.training_loss: nn.Module = (
            nn.CrossEntropyLoss(label_smoothing=options.label_smoothing)
            if class_weights is None
            else WeightedCrossEntropy(class_weights, options.label_smoothing)
        )
        self.results = (*names.RESULTS, *(names.BALANCED if balanced_metrics else ()))
        self.mixing = Mixing(options, num_classes, seed)
        self.test_stage = names.TEST
        accuracy = accuracies(num_classes, balanced_metrics)
        self.accuracy = nn.ModuleDict(
            {f"{stage}_": accuracy.clone(prefix=names.of(stage, "")) for stage in names.STAGES}
        )
        self.mean_loss = nn.ModuleDict({f"{stage}_": MeanMetric() for stage in names.STAGES})

    def forward(self, images: Tensor) -> Tensor:
        """(B, 3, H, W) to logits (B, num_classes)."""
        logits: Tensor = self.model(images)
        return logits

    def training_step(self, batch: tuple[Tensor, Tensor], batch_idx: int) -> Tensor:
        """Loss of a training batch, with smoothed labels and mixed images where asked for.

        The accuracy of mixed images is against the label with the larger share.
        """
        images, labels = self.mixing(*batch, self.current_epoch, batch_idx, self.global_rank)
        loss, _ = self._step((images, labels), batch_idx, names.TRAIN)
        return loss

    def validation_step(self, batch: tuple[Tensor, Tensor], batch_idx: int) -> None:
        """Metrics of a validation batch."""
        self._step(batch, batch_idx, names.VAL)

    def test_step(self, batch: tuple[Tensor, Tensor], batch_idx: int) -> dict[str, Tensor]:
        """Metrics of a test batch; gives callbacks its logits (B, num_classes) and labels (B,)."""
        _, logits = self._step(batch, batch_idx, self.test_stage)
        return {"logits": logits, "labels": batch[1]}

    def predict_step(self, batch: PictureBatch, batch_idx: int) -> tuple[Tensor, PictureBatch]:
        """Probabilities (n, num_classes) of the pictures that could be read, and their files."""
        images = batch.images
        probabilities = self(images).softmax(-1) if len(images) else images.new_empty(0, self.hparams["num_classes"])
        return probabilities, batch._replace(images=images[:0])

    @property
    def class_accuracies(self) -> list[float] | None:
        """The accuracy of each class in the last test, NaN for one that did not occur; None: not computed."""
        metric = dict(self._metrics(self.test_stage)[0].items(keep_base=True)).get(names.BALANCED_ACCURACY)
        found = metric.by_class if isinstance(metric, BalancedAccuracy) else None
        return None if found is None else found.tolist()

    def on_fit_start(self) -> None:
        """Count repaired decompositions from here."""
        FAILURES.take()

    def on_test_start(self) -> None:
        """Count repaired decompositions from here."""
        FAILURES.take()

    def on_fit_end(self) -> None:
        """Say once what had to be repaired."""
        self._report_repairs()

    def on_test_end(self) -> None:
        """Say once what had to be repaired."""
        self._report_repairs()

    def configure_optimizers(self) -> Any:
        """Optimizer and schedule, both by name."""
        build, options = _named(OPTIMIZERS, self.hparams["optimizer"])
        optimizer = build(self.model, options)
        self.conditioning.own_groups(self.model, optimizer)
        if self._trainer is not None:
            self._check_fused(optimizer)
        factor, options = _named(SCHEDULES, self.hparams["schedule"])
        epochs = None if self._trainer is None else self.trainer.max_epochs
        return {
            "optimizer": optimizer,
            "lr_scheduler": schedule(optimizer, factor, options, epochs, self._steps_per_epoch),
        }

    def configure_gradient_clipping(
        self,
        optimizer: Optimizer,
        gradient_clip_val: int | float | None = None,
        gradient_clip_algorithm: str | None = None,
    ) -> None:
        """Clip, and condition the gradients after that: they are whole, unscaled, and the last word before the step."""
        self.clip_gradients(optimizer, gradient_clip_val, gradient_clip_algorithm)
        if not self.conditioning.names:
            return
        rate = self.conditioning.before_step(self.model, optimizer)
        if rate is not None and self.global_step % self.trainer.log_every_n_steps == 0:  # type: ignore[attr-defined]  # Lightning sets it
            log_numbers(self.trainer.loggers, {names.OPTIMAL_RATE: rate}, self.global_step)

    def optimizer_step(self, *arguments: Any, **named: Any) -> None:
        """As Lightning's; the learning rate of the layer before the covariance is the schedule's again afterwards."""
        try:
            super().optimizer_step(*arguments, **named)
        finally:
            self.conditioning.after_step()

    def _check_fused(self, optimizer: Optimizer) -> None:
        """Raise OptionError for a fused optimizer, which unscales gradients in its own step, where that is too late."""
        if not getattr(optimizer, "_step_supports_amp_scaling", False):
            return
        fused = "optimizer.arguments.fused: a fused optimizer unscales gradients in its own step, after they would be"
        if isinstance(self.trainer.precision_plugin, MixedPrecision) and self.trainer.gradient_clip_val:
            raise OptionError(f"{fused} clipped; leave it out, or set trainer.gradient_clip_val=null")
        if self.trainer.scaler is not None and self.conditioning.names:
            raise OptionError(f"{fused} conditioned; leave it out, or use trainer.precision=bf16-mixed")

    def _steps_per_epoch(self) -> int:
        return int(self.trainer.estimated_stepping_batches) // (self.trainer.max_epochs or 1)

    def _step(self, batch: tuple[Tensor, Tensor], batch_idx: int, stage: str) -> tuple[Tensor, Tensor]:
        """Loss and logits."""
        images, targets = batch
        training = stage == names.TRAIN
        try:
            logits = self._logits(images)
            loss: Tensor = (self.training_loss if training else self.loss)(logits, targets)
            if not torch.isfinite(loss):
                raise NonFiniteError("the loss is NaN or infinite")
        except NonFiniteError as error:
            raise self._located(error, images, batch_idx, stage) from error
        accuracy, mean_loss = self._metrics(stage)
        accuracy.update(logits, targets if targets.dim() == 1 else targets.argmax(1))
        mean_loss(loss.detach(), len(images))
        self.log(names.of(stage, names.LOSS), mean_loss, on_step=training, on_epoch=True, prog_bar=True)
        self.log_dict(accuracy, on_step=False, on_epoch=True, prog_bar=True)
        return loss, logits

    def log_epoch(self, stage: str) -> None:
        """Log the averages of what the metrics of ``stage`` have seen, at the end of an epoch without a step."""
        accuracy, mean_loss = self._metrics(stage)
        for metric, visible in ((names.LOSS_EPOCH, True), (names.LOSS, False)):  # the names a step gives it
            name = names.of(stage, metric)
            self.log(name, mean_loss, on_step=False, on_epoch=True, prog_bar=visible, logger=visible)
        self.log_dict(accuracy, on_step=False, on_epoch=True, prog_bar=True)

    def _metrics(self, stage: str) -> tuple[MetricCollection, Metric]:
        """Accuracies and mean loss, which is exact over uneven shares: Lightning's sync_dist rounds the weights."""
        accuracy, mean_loss = self.accuracy[f"{stage}_"], self.mean_loss[f"{stage}_"]
        assert isinstance(accuracy, MetricCollection)
        assert isinstance(mean_loss, Metric)
        return accuracy, mean_loss

    def _logits(self, images: Tensor) -> Tensor:
        """(B, num_classes) from (B, 3, H, W), or from K views of each image, (B, K, 3, H, W), averaged."""
        if images.dim() == 4:
            logits: Tensor = self(images)
            return logits
        views: Tensor = self(images.flatten(0, 1))
        return views.reshape(*images.shape[:2], views.shape[-1]).mean(1)

    def _report_repairs(self) -> None:
        repaired = FAILURES.take()
        if repaired:
            rank_zero_warn(f"decompositions that needed help, in samples: {repaired}", category=UserWarning)

    def _located(self, error: NonFiniteError, images: Tensor, batch_idx: int, stage: str) -> NonFiniteError:
        """The error with the place it happened at and its likely cause."""
        bad = (~images.flatten(1).isfinite().all(1)).nonzero().flatten().tolist()
        if bad:
            cause = f"the images hold NaN or infinity (sample {few(bad, 8)}): mend the data"
        else:
            cause = "the images are finite, so training diverged: try a smaller optimizer.lr"
        where = f"{stage} batch {batch_idx}, epoch {shown(self.current_epoch)}, step {self.global_step}"
        return NonFiniteError(f"{error} in {where}; {cause}", error.samples or tuple(bad))


def _named(registry: Registry[Entry], config: Mapping[str, Any]) -> tuple[Any, Any]:
    """What builds the entry that ``config`` names, and its options."""
    values = dict(config)
    entry = registry.get(values.pop("name"))
    return resolve(entry.build), make_options(entry.options, values, f"{registry.kind} '{entry.name}'")
