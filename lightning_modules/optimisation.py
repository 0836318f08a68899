"""Optimizers and learning-rate schedules."""

from __future__ import annotations

from typing import Any

from torch import nn
from torch.optim import SGD, Optimizer
from torch.optim.lr_scheduler import LRScheduler, MultiStepLR

from gcp.model import PoolingNetwork
from lightning_modules.settings.optimizers import SGDOptions
from lightning_modules.settings.schedules import StepOptions


def parameter_groups(model: PoolingNetwork, lr: float, classifier_factor: float) -> list[dict[str, Any]]:
    """Groups `features`, `representation` and `classifier`, the last with its own learning rate.

    What is frozen is left out, and so are groups without parameters (average pooling has none).
    """
    parts: list[tuple[str, nn.Module, float]] = [
        ("features", model.features, lr),
        ("representation", model.representation, lr),
        ("classifier", model.classifier, lr * classifier_factor),
    ]
    groups = [
        {"params": [each for each in module.parameters() if each.requires_grad], "lr": rate, "name": name}
        for name, module, rate in parts
    ]
    return [group for group in groups if group["params"]]


def sgd(model: PoolingNetwork, options: SGDOptions) -> Optimizer:
    """Stochastic gradient descent over `parameter_groups`."""
    return SGD(
        parameter_groups(model, options.lr, options.classifier_factor),
        lr=options.lr,
        momentum=options.momentum,
        weight_decay=options.weight_decay,
        nesterov=options.nesterov,
    )


def step(optimizer: Optimizer, options: StepOptions) -> LRScheduler:
    """Multiply the learning rate by ``gamma`` after each of the ``milestones`` (epochs)."""
    return MultiStepLR(optimizer, milestones=options.milestones, gamma=options.gamma)
