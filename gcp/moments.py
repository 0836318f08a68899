"""Mean and covariance of a batch's channels, over this process or over all that train together."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from gcp.covariance import covariance_root
from gcp.errors import ShapeError
from gcp.features import layout_of
from gcp.functions import matrix_function
from gcp.processes import sum_over_processes
from gcp.rounding import null_floor
from gcp.spectral.method import SpectralMethod


@dataclass(frozen=True, eq=False)
class Moments:
    """What is known of M values of each channel in this process, and of those in the others.

    Attributes:
        centred: (groups, n, M), less the mean; 0 for values that do not count.
        mean: (groups, n, 1), float64.
        count: (), the values that count, of all processes.
        all_count: whether all M values of this process do.
        shared: (groups, n, n), float64, sums of products of the centred values over all processes; None: there is one.
    """

    centred: Tensor
    mean: Tensor
    count: Tensor
    all_count: bool
    shared: Tensor | None

    def covariance_function(self, method: SpectralMethod) -> Tensor:
        """The function of ``method`` of the biased covariance, (groups, n, n), with a gradient to the values."""
        if self.shared is not None:
            function: Tensor = matrix_function(self.shared / self.count.clamp(min=1), method)
            return function.to(self.centred.dtype)
        if self.all_count:
            return covariance_root(self.centred, method)
        # The covariance divides by all values; those left out are 0 and add nothing but to the count.
        values = self.centred.shape[-1]
        return covariance_root(self.centred * (values / self.count.clamp(min=1).double()).sqrt(), method)

    def unbiased_covariance(self) -> Tensor:
        """(groups, n, n), without a gradient; 0 where fewer than two values count."""
        centred = self.centred.detach()
        products = centred @ centred.mT if self.shared is None else self.shared.detach()
        return products / (self.count - 1).clamp(min=1)


def by_channel(features: Tensor, groups: int) -> Tensor:
    """(B, C, ...) as (groups, C/groups, M), the M values of each channel in a row.

    >>> by_channel(torch.rand(2, 6, 5, 5), groups=3).shape
    torch.Size([3, 2, 50])
    """
    return features.movedim(1, 0).reshape(groups, features.shape[1] // groups, -1)


def by_sample(samples: Tensor, features: Tensor) -> Tensor:
    """What `by_channel` did undone: (groups, C/groups, M) in the shape and memory format of ``features``.

    >>> features = torch.rand(2, 6, 5, 5)
    >>> torch.equal(by_sample(by_channel(features, groups=3), features), features)
    True
    """
    batch, channels, *positions = features.shape
    return samples.reshape(channels, batch, *positions).movedim(0, 1).contiguous(memory_format=layout_of(features))


def moments(samples: Tensor, present: Tensor | None = None, together: bool = False) -> Moments:
    """Mean, centred values and what covariances are made of.

    Args:
        samples: (groups, n, M), M values for each of n channels.
        present: (M,), which of them count; None: all.
        together: take those of all processes of the default group.

    Raises:
        ShapeError: fewer than two values for a channel.

    >>> moments(torch.tensor([[[1.0, 3.0, 5.0]]])).unbiased_covariance()
    tensor([[[4.]]])
    """
    count = present.sum() if present is not None else torch.full((), samples.shape[-1], device=samples.device)
    count = sum_over_processes(count) if together else count
    values = int(count) if together and present is None else samples.shape[-1]
    if values < 2 and not (together and present is not None):
        raise ShapeError(
            f"whitening needs two values per channel or more in training, got {values}; "
            "use a larger batch, or eval mode"
        )
    # In float64 and in two parts: float32 would leave a constant far from 0 with a deviation of its rounding.
    total = samples.sum(-1, keepdim=True, dtype=torch.float64)
    mean = (sum_over_processes(total) if together else total) / count.clamp(min=1)
    rounded = mean.to(samples.dtype)
    centred = samples - rounded - (mean - rounded).to(samples.dtype)
    centred = centred if present is None else torch.where(present, centred, 0)
    products = sum_over_processes(centred.double() @ centred.double().mT) if together else None
    return Moments(centred, mean, count, present is None, products)


def without_rounding(covariance: Tensor, dtype: torch.dtype) -> Tensor:
    """Covariances (groups, n, n) that were stored in ``dtype``, without the negative eigenvalues its rounding made.

    What is further below 0 stays, and is refused where it is used.

    >>> without_rounding(torch.tensor([[[1.0, 1.0], [1.0, 0.9995]]]), torch.half).double().det().abs() < 1e-6
    tensor([True])
    """
    eigenvalues, U = torch.linalg.eigh(covariance.double())
    allowed = null_floor(eigenvalues, torch.finfo(dtype).eps)
    kept = torch.where(eigenvalues >= -allowed, eigenvalues.clamp(min=0), eigenvalues)
    result: Tensor = (U * kept.unsqueeze(-2)) @ U.mT
    return result.to(covariance.dtype)
