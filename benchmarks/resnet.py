"""A training step of ResNet-50 with each pooling: its time, the pooling's part of it, its memory; on any device."""

from __future__ import annotations

from typing import Any

import torch
from torch import nn

from benchmarks.layers import Pass
from benchmarks.measure import interleaved, peak_bytes
from gcp.model import create_model

POOLINGS = ("average", "isqrt", "pade")
CLASSES = 1000


class TrainingStep:
    """Forward, backward and a step of SGD on images of noise; ``amp``: with float16 on a GPU, bfloat16 on a CPU."""

    def __init__(self, pooling: str, batch: int, pixels: int, device: torch.device, amp: bool = False) -> None:
        torch.manual_seed(0)
        self.device, self.amp = device, amp
        self.network = create_model("resnet50", pooling, num_classes=CLASSES).to(device)
        self.images = torch.randn(batch, 3, pixels, pixels, device=device)
        self.labels = torch.arange(batch, device=device) % CLASSES
        self.optimizer = torch.optim.SGD(self.network.parameters(), lr=1e-3, momentum=0.9)
        self.scaler = torch.amp.GradScaler(device.type, enabled=amp and device.type == "cuda")

    def forward(self) -> None:
        """The loss, with its graph."""
        kind = torch.float16 if self.device.type == "cuda" else torch.bfloat16
        with torch.autocast(self.device.type, dtype=kind, enabled=self.amp):
            self.loss = nn.functional.cross_entropy(self.network(self.images), self.labels)

    def backward(self) -> None:
        """Gradients, and the optimizer's step."""
        self.optimizer.zero_grad(set_to_none=True)
        torch.autograd.backward(self.scaler.scale(self.loss))
        self.scaler.step(self.optimizer)
        self.scaler.update()
        del self.loss

    def both(self) -> None:
        """The whole step."""
        self.forward()
        self.backward()

    def pooling_alone(self) -> Pass:
        """Forward and backward of channel reduction and pooling, without backbone and classifier."""
        with torch.no_grad():
            features = self.network.features(self.images)
            vector = self.network.representation(features)
        return Pass(self.network.representation, features, torch.randn_like(vector))


def training_step(
    pooling: str, batch: int, pixels: int, device: torch.device, repeats: int, amp: bool = False
) -> dict[str, Any]:
    """Seconds of a step and of the pooling alone, bytes at the step's peak beyond what stays, parameters."""
    step = TrainingStep(pooling, batch, pixels, device, amp)
    alone = step.pooling_alone()
    steps = {"step": (step.forward, step.backward), "pooling": (alone.forward, alone.backward)}
    times = interleaved(steps, repeats, 60.0, device, lambda: None)
    del alone, steps
    return {
        "seconds": times["step"]["total_s"],
        "pooling_s": times["pooling"]["total_s"],
        "peak_bytes": peak_bytes(step.both, device),
        "parameters": sum(each.numel() for each in step.network.parameters()),
        "classifier_parameters": sum(each.numel() for each in step.network.classifier.parameters()),
    }
