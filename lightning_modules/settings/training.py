"""What is minimised, on what, and which weights are kept. Free of torch."""

from __future__ import annotations

from dataclasses import dataclass

from gcp.errors import OptionError
from gcp.options import Options, option


@dataclass(frozen=True)
class TrainingOptions(Options):
    """The loss of training, mixed images and averaged weights."""

    label_smoothing: float = option(0.0, "share of the target spread over all classes, in training", minimum=0)
    mixup: float = option(0.0, "mix pairs of images, alpha of the Beta distribution; 0: not", minimum=0)
    cutmix: float = option(0.0, "paste parts of images, alpha; with mixup, either by chance per batch", minimum=0)
    ema_decay: float | None = option(
        None,
        "decay per optimizer step of the averaged weights that are validated, tested and kept; none: no averaging",
        above=0,
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        for name in ("label_smoothing", "ema_decay"):
            value = getattr(self, name)
            if value is not None and value >= 1:
                raise OptionError(f"{name} must be less than 1, got {value}")
