"""Options of fine-tuning in two stages. Free of torch."""

from __future__ import annotations

from dataclasses import dataclass

from gcp.errors import OptionError
from gcp.options import Options, option


@dataclass(frozen=True)
class SecondStageOptions(Options):
    """A second training that starts from the best weights of the first: new layers first, then all of them."""

    epochs: int | None = option(None, "epochs of the second stage; none: there is one stage", minimum=1)
    batch_size: int | None = option(None, "its data.batch_size; none: as in the first", minimum=1)
    lr: float | None = option(None, "its optimizer.lr; none: as in the first", above=0)
    classifier_factor: float | None = option(None, "its optimizer.classifier_factor; none: as in the first", above=0)
    frozen: int = option(0, "its backbone.frozen", minimum=0)

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.epochs is None and any((self.batch_size, self.lr, self.classifier_factor, self.frozen)):
            raise OptionError("the second stage needs second_stage.epochs")
