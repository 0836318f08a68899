"""Does it matter to training? A small head on kept features, under what the literature blames for instability.

Features: scikit-learn's digits through a fixed bank of random 3 x 3 filters and a ReLU. Trained: a 1 x 1 convolution
before the pooling layer, and a linear classifier of its standardised output, with the published recipes' clipping.
"""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.utils.parametrizations import orthogonal
from torch.optim.swa_utils import update_bn

from benchmarks import historical
from benchmarks.border_gradients import LIBRARY
from benchmarks.historical import MENDED, HistoricalPooling
from gcp.errors import GCPError
from gcp.pooling.factory import create_pooling

BANK, SIGNAL, EPOCHS, CLIP = 24, 4, 4, 5.0
TRAIN, TEST = 1200, 597  # images


@dataclass(frozen=True)
class Condition:
    """What differs from the standard.

    Attributes:
        channels: of the covariance.
        pooled: whether features are averaged to 3 x 3 positions first, instead of 8 x 8.
        gap: None, or the relative gap between neighbours of the 20 smallest of 24 eigenvalues of each image, which are
            about 1 beside four of up to 2; orthonormal weights keep 4 of them together throughout the training.
        whitened: whether channels are decorrelated over the training images, once.
        scale: of the features.
        precision: mixed (historical: float64) or float32.
        batch: size.
        lr: learning rate.
    """

    channels: int = 8
    pooled: bool = False
    gap: float | None = None
    whitened: bool = False
    scale: float = 1.0
    precision: str = "mixed"
    batch: int = 32
    lr: float = 0.1


CONDITIONS = {
    "standard": Condition(),
    "fewer positions than channels": Condition(channels=16, pooled=True),
    "the same, float32": Condition(channels=16, pooled=True, precision="float32"),
    "whitened": Condition(whitened=True),
    "gaps of 1e-2": Condition(gap=1e-2),
    "gaps of 1e-4": Condition(gap=1e-4),
    "gaps of 1e-12": Condition(gap=1e-12),
    "exact ties": Condition(gap=0.0),
    "gaps of 1e-4, float32": Condition(gap=1e-4, precision="float32"),
    "exact ties, float32": Condition(gap=0.0, precision="float32"),
    "features of size 1e-8": Condition(scale=1e-8),
    "batches of 4": Condition(batch=4),
    "ten times the rate": Condition(lr=1.0),
    "float32": Condition(precision="float32"),
}
FROZEN = "untrained"  # lyapunov with a convolution that stays as it is: what the gradient is worth
KINDS = {
    "library": (*LIBRARY, FROZEN),
    "historical": historical.METHODS,
    "mended": tuple(method for method in historical.METHODS if method != "pi"),  # historical without its mistakes
}
MENDED_UNDER = ("standard", "exact ties, float32", "features of size 1e-8")


@cache
def features(condition: Condition) -> tuple[Tensor, Tensor]:
    """Features (1797, BANK, H, W) and labels, the first TRAIN of them for training."""
    from sklearn.datasets import load_digits

    digits = load_digits()
    images = torch.from_numpy(digits.images).float()[:, None] / 16
    bank = torch.randn(BANK, 1, 3, 3, generator=torch.Generator().manual_seed(0))
    maps = nn.functional.conv2d(images, bank, padding=1).relu()
    maps = nn.functional.adaptive_avg_pool2d(maps, 3) if condition.pooled else maps
    if condition.whitened:
        maps = _whitened(maps)
    if condition.gap is not None:
        maps = _clustered(maps.double(), condition.gap)
    return condition.scale * maps, torch.from_numpy(digits.target).long()


def _whitened(maps: Tensor) -> Tensor:
    """Channels decorrelated over the positions of all training images."""
    rows = maps[:TRAIN].movedim(1, -1).flatten(0, 2).double()
    lam, U = torch.linalg.eigh(rows.T.cov())
    matrix = U @ (lam + 1e-6 * lam[-1]).rsqrt().diag() @ U.T
    return torch.einsum("dc,bchw->bdhw", matrix.float(), maps - rows.mean(0).float()[:, None, None])


def _clustered(maps: Tensor, gap: float) -> Tensor:
    """Each image's covariance with other eigenvalues: the four largest 1 + lam/lam_max, the rest about 1."""
    x = maps.flatten(2)
    noise = 1e-3 * torch.randn(x.shape, generator=torch.Generator().manual_seed(0), dtype=x.dtype)  # no null directions
    x = x + noise
    U, roots, Vh = torch.linalg.svd(x - x.mean(2, keepdim=True), full_matrices=False)
    lam = 1 + (roots / roots[:, :1]).square()
    lam[:, SIGNAL:] = 1 - gap * torch.arange(BANK - SIGNAL, dtype=lam.dtype)
    made: Tensor = (U * lam.sqrt().unsqueeze(-2)) @ Vh * x.shape[2] ** 0.5
    return made.reshape(maps.shape)


class Head(nn.Module):
    """1 x 1 convolution, pooling, standardisation, classifier."""

    def __init__(self, kind: str, method: str, condition: Condition, channels: int) -> None:
        super().__init__()
        self.reduce = nn.Linear(channels, condition.channels, bias=False)  # a 1 x 1 convolution
        nn.init.orthogonal_(self.reduce.weight)
        if condition.gap is not None:
            orthogonal(self.reduce)
        single = condition.precision == "float32"
        self.pooling = (
            create_pooling(method, in_channels=condition.channels, precision=condition.precision)
            if kind == "library"
            else HistoricalPooling(
                method, MENDED if kind == "mended" else None, torch.float32 if single else torch.float64
            )
        )
        size = condition.channels * (condition.channels + 1) // 2
        self.norm = nn.BatchNorm1d(size, eps=1e-30, momentum=None, affine=False)
        self.classify = nn.Linear(size, 10)

    def forward(self, maps: Tensor) -> Tensor:
        """(B, C, H, W) to logits (B, 10)."""
        reduced = self.reduce(maps.to(self.reduce.weight.dtype).movedim(1, -1)).movedim(-1, 1)
        logits: Tensor = self.classify(self.norm(self.pooling(reduced).float()))
        return logits


def train(kind: str, method: str, condition: Condition, seed: int) -> dict[str, Any]:
    """Test accuracy, loss of the last epoch, how often the gradient was clipped, and its largest norm; or the error."""
    torch.manual_seed(seed)
    maps, labels = features(dataclasses.replace(condition, precision="mixed", batch=32, lr=0.1))
    head = Head(kind, "lyapunov" if method == FROZEN else method, condition, maps.shape[1])
    head.reduce.requires_grad_(method != FROZEN)
    if condition.gap is not None and condition.precision == "mixed":
        head.reduce.double()  # rounding to float32 would break ties
    optimizer = torch.optim.SGD(head.parameters(), condition.lr, momentum=0.9)
    steps = EPOCHS * (TRAIN // condition.batch)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, steps)
    largest, clipped = 0.0, 0
    losses: list[float] = []
    try:
        for _ in range(EPOCHS):
            losses = []
            order = torch.randperm(TRAIN)[: TRAIN // condition.batch * condition.batch]
            for part in order.reshape(-1, condition.batch):
                loss: Tensor = nn.functional.cross_entropy(head(maps[part]), labels[part])
                optimizer.zero_grad()
                loss.backward()  # type: ignore[no-untyped-call]  # torch declares no types
                norm = float(nn.utils.clip_grad_norm_(head.parameters(), CLIP, error_if_nonfinite=True))
                largest, clipped = max(largest, norm), clipped + (norm > CLIP)
                optimizer.step()
                schedule.step()
                losses.append(loss.item())
        update_bn([maps[:TRAIN]], head)
        head.eval()
        with torch.no_grad():
            right = head(maps[TRAIN:]).argmax(1) == labels[TRAIN:]
    except (GCPError, RuntimeError, ArithmeticError) as error:
        return {"accuracy": None, "error": str(error).split("\n")[0]}
    return {
        "accuracy": round(right.double().mean().item(), 5),
        "loss": float(f"{sum(losses) / len(losses):.4g}"),
        "clipped": round(clipped / steps, 4),
        "largest": float(f"{largest:.3g}"),
        "error": None,
    }


def cases(seeds: int) -> Iterator[tuple[str, str, str, int]]:
    """Kind, method, name of the condition and seed of every run, seed after seed."""
    for seed, (name, _), (kind, methods) in itertools.product(range(seeds), CONDITIONS.items(), KINDS.items()):
        for method in methods:
            if kind != "mended" or name in MENDED_UNDER:
                yield kind, method, name, seed
