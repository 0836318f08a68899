"""What `training.orthogonal_gradient`, `optimal_lr` and `orthogonal_weights` do to the layers before a covariance."""

from __future__ import annotations

from typing import Any

from torch import nn
from torch.optim import Optimizer

from gcp.conditioning.layers import layers_before_covariance
from gcp.conditioning.nearest_orthogonal import nearest_orthogonal
from gcp.conditioning.optimal_rate import optimal_rate
from gcp.conditioning.orthogonal_weights import make_orthogonal, trained_weight
from gcp.errors import OptionError
from lightning_modules.settings.training import TrainingOptions

GROUP = "before_covariance"  # end of the names of their parameter groups


class Conditioning:
    """Between the gradient and the step: gradient first, then the learning rate, both of the trained parameter.

    It has no state beside the weights, so that nothing has to be resumed; the learning rates it changes are put back
    after the step.

    Args:
        model: the network, whose weights become orthogonal if the options say so.
        options: which of the three.

    Attributes:
        names: the trained parameters of the layers, empty if no option is set.

    Raises OptionError if there is no such layer, or if it is frozen.
    """

    def __init__(self, model: nn.Module, options: TrainingOptions) -> None:
        self.options = options
        self.names: list[str] = []
        self._rates: list[tuple[dict[str, Any], Any]] = []  # groups, and the rates to put back
        wanted = options.conditioning
        if not wanted:
            return
        layers = layers_before_covariance(model)
        if not layers:
            raise OptionError(
                f"training.{wanted[0]} is for the layer before the covariance, and there is none: method=average has "
                "no covariance, or method.reduced_channels is null or not below the backbone's channels; set it to "
                "less, or backbone.whitening=first"
            )
        for name, layer in layers.items():
            if not layer.weight.requires_grad:
                raise OptionError(
                    f"training.{wanted[0]} is for the layer before the covariance, and {name} is frozen; use frozen=0"
                )
            if options.orthogonal_weights:
                make_orthogonal(layer)
            self.names.append(f"{name}.{trained_weight(layer)}")

    def own_groups(self, model: nn.Module, optimizer: Optimizer) -> None:
        """Give the layers parameter groups of their own where they need one: for their rate, or to be free of decay."""
        if not (self.options.optimal_lr or self.options.orthogonal_weights):
            return
        own = {id(model.get_parameter(name)) for name in self.names}
        groups = list(optimizer.param_groups)
        for group in groups:
            parameters = [each for each in group["params"] if id(each) in own]
            if not parameters:
                continue
            group["params"] = [each for each in group["params"] if id(each) not in own]
            new = {**group, "params": parameters, "name": f"{group['name']}_{GROUP}"}
            if self.options.orthogonal_weights and "weight_decay" in new:
                new["weight_decay"] = 0.0  # of what is behind an orthogonal weight it has no meaning
            optimizer.add_param_group(new)
        optimizer.param_groups[:] = [group for group in optimizer.param_groups if group["params"]]

    def before_step(self, model: nn.Module, optimizer: Optimizer) -> float | None:
        """Condition the gradients and set the rates; to be called with the step's own, unscaled and clipped gradients.

        Returns:
            the last layer's learning rate, if there is one for it.
        """
        rate = None
        for name in self.names:
            parameter = model.get_parameter(name)
            if parameter.grad is None:
                continue
            if self.options.orthogonal_gradient:
                parameter.grad.copy_(nearest_orthogonal(parameter.grad))
            if self.options.optimal_lr:
                (group,) = (each for each in optimizer.param_groups if any(p is parameter for p in each["params"]))
                scheduled, best = float(group["lr"]), optimal_rate(parameter, parameter.grad)
                rate = best if 0 < best < scheduled else scheduled
                if rate != scheduled:
                    self._rates.append((group, group["lr"]))
                    group["lr"] = rate
        return rate

    def after_step(self) -> None:
        """Put the schedule's learning rates back."""
        for group, scheduled in self._rates:
            group["lr"] = scheduled
        self._rates.clear()
