"""Weights of positions: a mask of those that count, or how much each counts."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from gcp.errors import DomainError, DtypeError, NonFiniteError, ShapeError, few
from gcp.features import sample_list
from gcp.operators import define_operator


class Shares(NamedTuple):
    """How much each position counts.

    Attributes:
        present: (B, 1, N) bool, positions that count at all.
        share: (B, 1, N), of which the sum over the positions of a sample is 1; 0 for the others.
    """

    present: Tensor
    share: Tensor

    def of(self, flat: Tensor) -> Tensor:
        """Features (B, C, N) with 0 where nothing counts, whatever stands there; that gets the gradient 0."""
        return torch.where(self.present, flat, 0)

    @property
    def root(self) -> Tensor:
        """sqrt(share), (B, 1, N), with the gradient 0 at 0."""
        return torch.where(self.present, torch.where(self.present, self.share, 1).sqrt(), 0)


def shares(weights: Tensor, features: Tensor, dtype: torch.dtype, fewest: int = 1) -> Shares:
    """What ``weights`` mean for ``features`` (B, C, ...).

    Args:
        weights: (B, ...) like the positions of the features, or (B, N): bool, True where a position counts; or floating
            point, at least 0, in any unit. A weight of 0 is a position that is not there: nothing is read from it, and
            its weight gets the gradient 0. Above 0 gradients with respect to weights are exact.
        features: of the forms of `gcp.features.flat_features`.
        dtype: of the shares.
        fewest: the fewest positions of a sample that must count.

    Raises:
        DtypeError, ShapeError: weights of another type, or that do not fit the features.
        NonFiniteError, DomainError: weights that are not finite or negative, or a sample too few of whose positions
            count; names the samples. Not in an exported program.

    >>> shares(torch.tensor([[1.0, 3.0, 0.0]]), torch.rand(1, 8, 3), torch.float32).share
    tensor([[[0.2500, 0.7500, 0.0000]]])
    """
    kind = str(getattr(weights, "dtype", type(weights).__name__)).removeprefix("torch.")
    if not isinstance(weights, Tensor) or not (weights.is_floating_point() or weights.dtype == torch.bool):
        raise DtypeError(f"weights must be a tensor, bool (True where a position counts) or floating point, got {kind}")
    batch, _, *sides = features.shape
    if tuple(weights.shape) not in ((batch, *sides), (batch, features[0, 0].numel())):
        raise ShapeError(
            f"weights must be {(batch, *sides)}, one for each position of features {tuple(features.shape)}, "
            f"got shape {tuple(weights.shape)}"
        )
    flat = weights.flatten(1).unsqueeze(1)  # (B, 1, N)
    if torch.compiler.is_exporting():
        present = flat > 0 if flat.is_floating_point() else flat
    else:
        present = torch.ops.gcp.present_positions(flat.detach(), fewest)
    amount = torch.where(present, flat.to(dtype), 0)
    unit = amount.detach().amax(-1, keepdim=True)  # sums of large ones would be infinite, of small ones 0
    amount = amount / torch.where(unit > 0, unit, 1)
    total = amount.sum(-1, keepdim=True)
    return Shares(present, amount / torch.where(total > 0, total, 1))


def _operator(weights: Tensor, fewest: int) -> Tensor:
    """Where ``weights`` (B, 1, N) are above 0."""
    if weights.is_floating_point():
        _refuse(~weights.isfinite(), NonFiniteError, "NaN or infinity in the weights of sample {samples}")
        _refuse(weights < 0, DomainError, "the weights of sample {samples} are negative; they must be at least 0")
    present = weights > 0 if weights.is_floating_point() else weights.clone()
    _refuse(
        present.sum(-1, keepdim=True) < fewest,
        DomainError,
        f"a sample needs {fewest} positions or more whose weight is above 0, too few have it in sample {{samples}}; "
        "leave such samples out",
    )
    return present


def _refuse(wrong: Tensor, error: type[DomainError] | type[NonFiniteError], message: str) -> None:
    samples = sample_list(wrong.flatten(1).any(1))
    if samples:
        raise error(message.format(samples=few(samples, 8)), samples)


def _allocate(weights: Tensor, fewest: int) -> Tensor:
    return torch.empty_like(weights, dtype=torch.bool)


def _vmap(info: object, in_dims: tuple[int | None, ...], weights: Tensor, fewest: int) -> tuple[Tensor, int]:
    assert in_dims[0] is not None
    weights = weights.movedim(in_dims[0], 0)
    present = torch.ops.gcp.present_positions(weights.flatten(0, 1), fewest)
    return present.unflatten(0, weights.shape[:2]), 0


define_operator("present_positions(Tensor weights, int fewest) -> Tensor", _operator, _allocate, _vmap)
