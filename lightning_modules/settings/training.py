"""How a run trains: Lightning's Trainer, the loss, a switch of methods, a second stage. Free of torch."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

from gcp.errors import OptionError, UnknownNameError
from gcp.methods import METHODS
from gcp.options import Options, check_type, make_options, option, option_names


@dataclass(frozen=True)
class TrainerOptions(Options):
    """Arguments of Lightning's Trainer, under its names."""

    max_epochs: int = option(15, "epochs of training", minimum=1)
    accelerator: str = option("auto", "auto, cpu, gpu, ...")
    devices: int | str = option(1, "number of devices, or auto, or -1: every GPU")
    num_nodes: int = option(1, "number of machines", minimum=1)
    strategy: str = option("auto", "auto, ddp, ...; data.batch_size is that of one device")
    precision: str = option(
        "32-true",
        "of the network; the spectral layer has its own, method.precision",
        choices=("32-true", "64-true", "16-mixed", "bf16-mixed"),
    )
    deterministic: bool = option(False, "deterministic algorithms only, where torch has them")
    gradient_clip_val: float | None = option(5.0, "largest gradient norm; null: not clipped", above=0)
    accumulate_grad_batches: int = option(1, "batches per optimizer step", minimum=1)
    limit_train_batches: int | float = option(1.0, "number or fraction of batches per epoch", above=0)
    limit_val_batches: int | float = option(1.0, "number or fraction of validation batches", minimum=0)
    limit_test_batches: int | float = option(1.0, "number or fraction of test batches", minimum=0)
    overfit_batches: int | float = option(0.0, "train on so many batches only, again and again", minimum=0)
    log_every_n_steps: int = option(10, "steps between two rows of training metrics", minimum=1)
    check_val_every_n_epoch: int = option(1, "epochs between two validations", minimum=1)
    num_sanity_val_steps: int = option(0, "validation batches tried before training", minimum=0)
    sync_batchnorm: bool = option(False, "batch statistics over all devices")
    requeue: bool = option(
        True,
        "under Slurm: a job whose time runs out (SIGUSR1, SIGUSR2) or that has to make room is queued again, "
        "and goes on from its checkpoint",
    )
    detect_anomaly: bool = option(False, "trace NaN in the backward to the operation that made it (slow)")

    def __post_init__(self) -> None:
        super().__post_init__()
        count = int(self.devices) if re.fullmatch(r"-?\d+", str(self.devices)) else None
        if (
            (count is None and not re.fullmatch(r"auto|\d+(,\d*)+", str(self.devices)))
            or (count or 1) < -1
            or count == 0
        ):
            raise OptionError(
                f"devices must be a number of at least 1, auto, or -1 for every GPU, got {self.devices!r}"
            )
        for name in ("limit_train_batches", "limit_val_batches", "limit_test_batches", "overfit_batches"):
            value = getattr(self, name)
            if isinstance(value, float) and value > 1:
                raise OptionError(f"{name} must be a whole number of batches, or a fraction up to 1.0, got {value}")


CONDITIONING = ("orthogonal_gradient", "optimal_lr", "orthogonal_weights")


@dataclass(frozen=True)
class TrainingOptions(Options):
    """The loss of training, mixed images, averaged weights, and conditioning of the layer before the covariance."""

    label_smoothing: float = option(0.0, "share of the target spread over all classes, in training", minimum=0)
    mixup: float = option(0.0, "mix pairs of images, alpha of the Beta distribution; 0: not", minimum=0)
    cutmix: float = option(0.0, "paste parts of images, alpha; with mixup, either by chance per batch", minimum=0)
    class_weights: Any = option(
        None,
        "weights of the classes in the training loss: balanced, as if each had as many images, or [1,2,...]; null: all "
        "the same",
    )
    balanced_metrics: bool | None = option(
        None,
        "balanced accuracy, macro F1 and the accuracy of each class beside accuracy; null: where the largest class has "
        "more than 1.25 times the training images of the smallest, or callbacks.monitor asks for one",
    )
    features_once: bool = option(
        False,
        "compute what the frozen stages of the backbone give for each image once and train from there, which is exact: "
        "needs images that are the same in each epoch (data.transform=plain224) and keeps all features in memory",
    )
    features_folder: str | None = option(
        None,
        "folder in which these features are kept, by network and image, for other runs; null: each run computes them",
    )
    ema_decay: float | None = option(
        None,
        "decay per optimizer step of the averaged weights that are validated, tested and kept; null: no averaging",
        above=0,
    )
    orthogonal_gradient: bool = option(
        False, "steps of the layer before the covariance go along the orthogonal matrix nearest to its gradient"
    )
    optimal_lr: bool = option(
        False,
        "its learning rate is the one that leaves it nearest to orthogonal, where below the schedule's",
    )
    orthogonal_weights: bool = option(False, "its weights are kept orthogonal")

    @property
    def conditioning(self) -> list[str]:
        """Those of the options on the layer before the covariance that are set."""
        return [name for name in CONDITIONING if getattr(self, name)]

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.features_folder is not None and not self.features_once:
            raise OptionError("features_folder keeps the features of features_once; set that too, or leave it out")
        for name in ("label_smoothing", "ema_decay"):
            value = getattr(self, name)
            if value is not None and value >= 1:
                raise OptionError(f"{name} must be less than 1, got {value}")
        weights = self.class_weights
        if not (weights is None or weights == "balanced" or (isinstance(weights, list) and weights)):
            raise OptionError(f"class_weights must be null, balanced or a list of numbers, got {weights!r}")
        for weight in weights if isinstance(weights, list) else []:
            check_type("class_weights", weight, float)
            if weight <= 0:
                raise OptionError(f"class_weights must be greater than 0, got {weight}")


@dataclass(frozen=True)
class SwitchOptions(Options):
    """Hybrid training: one method first, ``method``, and another one for the rest; weights and optimizer go on."""

    to: str | None = option(None, "method the run switches to; null: it keeps its method")
    options: dict[str, Any] = option(
        {},
        "options of that method, switch.options.degree=50; those that all spectral methods have are as in method "
        "otherwise, the rest as by default",
    )
    at: str = option(
        "last_decay",
        "when: at the schedule's last milestone, at a given epoch, or when covariances are well enough conditioned",
        choices=("last_decay", "epoch", "condition"),
    )
    epoch: int | None = option(None, "for at=epoch: epochs of the first method", minimum=1)
    condition: float | None = option(
        None,
        "for at=condition: switch after an epoch whose median condition number, of the eigenvalues that are not null, "
        "is below this",
        above=1,
    )
    batches: int = option(10, "for at=condition: batches at the end of an epoch that are measured", minimum=1)

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.to is not None:
            try:
                info = METHODS.get(self.to)
            except UnknownNameError as error:
                raise OptionError(f"to: {error}") from None
            try:
                make_options(info.options, self.options, f"method '{self.to}'")
            except OptionError as error:
                named = str(error).split()[0] in option_names(info.options)
                raise OptionError(f"options{'.' if named else ': '}{error}") from None
        for name in ("epoch", "condition"):
            given = getattr(self, name) is not None
            if given and (self.to is None or self.at != name):
                raise OptionError(f"{name} is used with switch.to=... and switch.at={name} only")
            if self.at == name and self.to is not None and not given:
                raise OptionError(f"at={name} needs switch.{name}")


@dataclass(frozen=True)
class SecondStageOptions(Options):
    """A second training that starts from the best weights of the first: new layers first, then all of them."""

    epochs: int | None = option(None, "epochs of the second stage; null: there is one stage", minimum=1)
    batch_size: int | None = option(None, "its data.batch_size; null: as in the first", minimum=1)
    lr: float | None = option(None, "its optimizer.lr; null: as in the first", above=0)
    classifier_factor: float | None = option(None, "its optimizer.classifier_factor; null: as in the first", above=0)
    frozen: int | str = option(0, "its backbone.frozen", minimum=0)

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.epochs is None and any((self.batch_size, self.lr, self.classifier_factor, self.frozen)):
            raise OptionError("the second stage needs second_stage.epochs")
