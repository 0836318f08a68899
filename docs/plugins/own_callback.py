"""A callback of one's own: the norm of the gradient, logged, and its largest value in the summary."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from gcp.options import Options, option
from lightning_modules.settings.callbacks import register_callback

if TYPE_CHECKING:
    from pytorch_lightning import Callback


@dataclass(frozen=True)
class GradientNormOptions(Options):
    """Options of `gradient_norm`: callbacks.gradient_norm.every_n_steps=10."""

    every_n_steps: int = option(10, "steps from one measurement to the next", minimum=1)


def build(run: Any, options: GradientNormOptions) -> Callback:
    """A Lightning callback. Its property ``summary_entries`` is written into summary.json."""
    import torch
    from pytorch_lightning import Callback

    class GradientNorm(Callback):
        largest = 0.0

        @property
        def summary_entries(self) -> dict[str, float]:
            return {"largest_gradient_norm": self.largest}

        def on_before_optimizer_step(self, trainer: Any, module: Any, optimizer: Any) -> None:
            if trainer.global_step % options.every_n_steps == 0:
                gradients = [each.grad for each in module.parameters() if each.grad is not None]
                norm = torch.nn.utils.get_total_norm(gradients).item()
                self.largest = max(self.largest, norm)
                module.log("gradient_norm", norm)

    return GradientNorm()


register_callback(
    "gradient_norm", GradientNormOptions, build, "the norm of the gradient, and its largest value", watches=True
)
