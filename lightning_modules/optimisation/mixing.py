"""Mixup and CutMix on batches, reproducible without any state."""

from __future__ import annotations

import torch
from torch import Tensor
from torchvision.transforms.v2 import CutMix, MixUp, Transform

from datamodules.seeding import private_seed
from lightning_modules.settings.training import TrainingOptions


class Mixing:
    """Mixup (arXiv 1710.09412) and CutMix (arXiv 1905.04899) from torchvision; with both, one of them by chance.

    What happens to a batch depends on (seed, position) alone and no global random state is changed, so that a run
    that is resumed mixes as if it had not stopped.

    Args:
        options: ``mixup`` and ``cutmix``, the alphas.
        num_classes: number of classes.
        seed: seed of the run.
    """

    def __init__(self, options: TrainingOptions, num_classes: int, seed: int) -> None:
        alphas = ((MixUp, options.mixup), (CutMix, options.cutmix))
        self.transforms: list[Transform] = [cls(alpha=alpha, num_classes=num_classes) for cls, alpha in alphas if alpha]
        self.seed = seed

    def __call__(self, images: Tensor, labels: Tensor, *position: int) -> tuple[Tensor, Tensor]:
        """Mixed images (B, 3, H, W), and their probabilities (B, num_classes) in the place of labels (B,).

        Without transforms both come back as they are.

        Args:
            images: (B, 3, H, W).
            labels: (B,), int64.
            position: of the batch: epoch, batch and device, say.
        """
        if not self.transforms:
            return images, labels
        with torch.random.fork_rng(devices=[]):  # torchvision draws from the CPU's global stream
            torch.default_generator.manual_seed(private_seed(self.seed, *position))
            chosen = self.transforms[int(torch.randint(len(self.transforms), ()))]
            mixed: tuple[Tensor, Tensor] = chosen(images, labels)
        return mixed
