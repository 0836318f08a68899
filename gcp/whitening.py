"""ZCA batch whitening: batch normalisation that also removes the correlation between channels."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from gcp.autograd import without_autocast
from gcp.covariance import covariance_root
from gcp.errors import OptionError, ShapeError
from gcp.features import at_least_float32, check_floating, working
from gcp.functions import matrix_function, prepare
from gcp.options import check_type
from gcp.spectral.maps import InverseSquareRoot


def without_rounding(covariance: Tensor, dtype: torch.dtype) -> Tensor:
    """Covariances (groups, n, n) that were stored in ``dtype``, without the negative eigenvalues its rounding made.

    What is further below 0 stays, and is refused where it is used.

    >>> without_rounding(torch.tensor([[[1.0, 1.0], [1.0, 0.9995]]]), torch.half).double().det().abs() < 1e-6
    tensor([True])
    """
    eigenvalues, U = torch.linalg.eigh(covariance.double())
    allowed = covariance.shape[-1] * torch.finfo(dtype).eps * eigenvalues.abs().amax(-1, keepdim=True)
    kept = torch.where(eigenvalues >= -allowed, eigenvalues.clamp(min=0), eigenvalues)
    result: Tensor = (U * kept.unsqueeze(-2)) @ U.mT
    return result.to(covariance.dtype)


class Whitening(nn.Module):
    """y = P^(-1/2) (x - mean), P the covariance of the channels over batch and positions (arXiv 1804.08450).

    Takes the place of ``BatchNorm2d`` and ``BatchNorm1d``: the same shape, buffers ``running_mean`` and
    ``num_batches_tracked``, ``running_covariance`` in place of ``running_var``, normalised by the biased and tracked by
    the unbiased estimate. P^(-1/2) is symmetric (ZCA), so channels keep their meaning. ``half()`` and
    ``bfloat16()`` leave the running statistics in float32; those of a state dict in half precision come back to it.

    Args:
        num_features: C, at least 1.
        eps: P + eps tr(P)/C I is inverted, above 0. Unlike batch normalisation's, it is relative, so that the scale of
            the input does not matter; with ``relative=False`` it is absolute.
        momentum: weight of the new batch in the running statistics; None: their plain mean over all batches.
        affine: learn a scale and a shift for each channel.
        track_running_stats: keep running statistics and use them in eval; otherwise the batch's own, always.
        groups: whiten this many groups of C/groups neighbouring channels, each on its own.
        method: the gradient's kernel, one of `list_methods()`.
        relative: see eps.
        options: the method's own.

    Raises:
        OptionError: an argument out of its range, or groups that do not divide the channels.

    >>> x = torch.randn(64, 2, generator=torch.Generator().manual_seed(0)) @ torch.tensor([[1.0, 0.5], [0.0, 2.0]])
    >>> y = Whitening(2)(x)
    >>> torch.allclose(y.T @ y / 64, torch.eye(2), atol=1e-3)
    True
    """

    running_mean: Tensor | None
    running_covariance: Tensor | None
    num_batches_tracked: Tensor | None

    def __init__(
        self,
        num_features: int,
        eps: float = 1e-5,
        momentum: float | None = 0.1,
        affine: bool = True,
        track_running_stats: bool = True,
        groups: int = 1,
        method: str = "lyapunov",
        relative: bool = True,
        **options: Any,
    ) -> None:
        super().__init__()
        for name, value, kind in (
            ("num_features", num_features, int),
            ("eps", eps, float),
            ("momentum", momentum, float | None),
            ("affine", affine, bool),
            ("track_running_stats", track_running_stats, bool),
            ("groups", groups, int),
        ):
            check_type(name, value, kind)
        if num_features < 1 or groups < 1 or num_features % groups:
            raise OptionError(f"groups must divide the channels, got groups={groups} for num_features={num_features}")
        if not eps > 0:
            raise OptionError(f"eps must be greater than 0, got {eps}")
        if momentum is not None and not 0 <= momentum <= 1:
            raise OptionError(f"momentum must be None or between 0 and 1, got {momentum}")
        self.num_features = num_features
        self.eps = eps
        self.momentum = momentum
        self.affine = affine
        self.track_running_stats = track_running_stats
        self.groups = groups
        self.method = method
        self.prepared = prepare(InverseSquareRoot(eps=eps, relative=relative), method, options)
        self.prepared.options.check_channels(num_features // groups)
        self.weight = nn.Parameter(torch.empty(num_features)) if affine else None
        self.bias = nn.Parameter(torch.empty(num_features)) if affine else None
        size = num_features // groups
        dtype = at_least_float32(torch.get_default_dtype())
        mean, covariance = torch.empty(num_features, dtype=dtype), torch.empty(groups, size, size, dtype=dtype)
        self.register_buffer("running_mean", mean if track_running_stats else None)
        self.register_buffer("running_covariance", covariance if track_running_stats else None)
        self.register_buffer("num_batches_tracked", torch.tensor(0) if track_running_stats else None)
        self.reset_parameters()

    def reset_running_stats(self) -> None:
        """Mean 0, covariance the identity, no batch seen."""
        if self.running_mean is not None and self.running_covariance is not None:
            self.running_mean.zero_()
            self.running_covariance.copy_(torch.eye(self.running_covariance.shape[-1]))
        if self.num_batches_tracked is not None:
            self.num_batches_tracked.zero_()

    def reset_parameters(self) -> None:
        """Running statistics as new, scale 1 and shift 0."""
        self.reset_running_stats()
        if self.weight is not None and self.bias is not None:
            nn.init.ones_(self.weight)
            nn.init.zeros_(self.bias)

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> Whitening:
        """As in ``nn.Module``, but that ``half()`` leaves the statistics in float32: rounded further, a covariance gets
        negative eigenvalues.
        """
        before = dict(self.named_buffers(recurse=False))
        super()._apply(fn, recurse)  # type: ignore[no-untyped-call]  # torch leaves it untyped
        for name, buffer in list(self.named_buffers(recurse=False)):
            if buffer.is_floating_point() and buffer.dtype != at_least_float32(buffer.dtype):
                setattr(self, name, before[name].to(buffer.device, at_least_float32(buffer.dtype)))
        return self

    def _load_from_state_dict(self, state_dict: dict[str, Any], prefix: str, *others: Any) -> None:
        """As in ``nn.Module``, but that statistics which were stored in half precision come back to float32."""
        for name in ("running_mean", "running_covariance"):
            stored = state_dict.get(prefix + name)
            if isinstance(stored, Tensor) and stored.is_floating_point():
                wide = working(stored)
                if stored.dtype != wide.dtype:
                    rounded = name == "running_covariance" and not stored.is_meta and bool(stored.isfinite().all())
                    state_dict[prefix + name] = without_rounding(wide, stored.dtype) if rounded else wide
        super()._load_from_state_dict(state_dict, prefix, *others)

    def forward(self, features: Tensor) -> Tensor:
        """(B, C), (B, C, N) or (B, C, H, W), whitened, in the same shape and dtype.

        With the option ``nonfinite="zero"`` a sample with NaN or infinity is left out of the statistics, gives 0 and
        gets no gradient.

        Raises:
            DtypeError: not a tensor of real floating-point numbers.
            ShapeError: another shape, or in training fewer than two values per channel.
            NonFiniteError: NaN or infinity among the values that statistics are taken of.
        """
        check_floating(features, "features")
        if features.dim() not in (2, 3, 4) or features.shape[1] != self.num_features:
            raise ShapeError(
                f"features must be (B, {self.num_features}), (B, {self.num_features}, N) or "
                f"(B, {self.num_features}, H, W), got shape {tuple(features.shape)}"
            )
        with without_autocast(features):
            # Half precision would spoil the product with an inverse root as large as 1/sqrt(eps).
            values = working(features)
            usable = None
            if self.prepared.options.nonfinite == "zero":
                usable = values.isfinite().flatten(1).all(1).view(-1, *(1,) * (features.dim() - 1))
                values = torch.where(usable, values, 0)
            channels_first = values.movedim(1, 0)
            samples = channels_first.reshape(self.groups, self.num_features // self.groups, -1)
            present = None if usable is None else usable.expand_as(values[:, :1]).reshape(-1)
            whitened = self._whiten(samples, present).reshape(channels_first.shape).movedim(0, 1)
            if self.weight is not None and self.bias is not None:
                per_channel = (-1,) + (1,) * (features.dim() - 2)
                whitened = whitened * self.weight.view(per_channel) + self.bias.view(per_channel)
            if usable is not None:
                whitened = torch.where(usable, whitened, 0)
        return whitened.to(features.dtype)

    def _whiten(self, samples: Tensor, present: Tensor | None) -> Tensor:
        """(groups, C/groups, M), M values per channel, whitened; ``present`` (M,): those that count, none: all."""
        if not self.training and self.running_mean is not None and self.running_covariance is not None:
            mean = self.running_mean.to(samples.dtype).view(*samples.shape[:2], 1)
            covariance = self.running_covariance.to(samples.dtype)
            whitener: Tensor = matrix_function(covariance, self.prepared)
            return whitener @ (samples - mean)
        values = samples.shape[-1]
        if values < 2:
            raise ShapeError(
                f"whitening needs two values per channel or more in training, got {values}; "
                "use a larger batch, or eval mode"
            )
        count = torch.tensor(values, device=samples.device) if present is None else present.sum()
        # In float64 and in two parts: float32 would leave a constant far from 0 with a deviation of its rounding.
        mean = samples.sum(-1, keepdim=True, dtype=torch.float64) / count.clamp(min=1)
        rounded = mean.to(samples.dtype)
        centred = samples - rounded - (mean - rounded).to(samples.dtype)
        if present is None:
            whitener = covariance_root(centred, self.prepared)
        else:
            centred = torch.where(present, centred, 0)
            # The covariance divides by all values; those left out are 0 and add nothing but to the count.
            whitener = covariance_root(centred * (values / count.clamp(min=1).double()).sqrt(), self.prepared)
        if self.training:
            self._track(mean.detach(), centred.detach(), count)
        return whitener @ centred

    @torch.no_grad()
    def _track(self, mean: Tensor, centred: Tensor, count: Tensor) -> None:
        """Take one batch of ``count`` values per channel into the running statistics, if they are enough for any."""
        if self.running_mean is None or self.running_covariance is None or self.num_batches_tracked is None:
            return
        enough = count > 1
        self.num_batches_tracked.add_(enough)
        weight = 1 / self.num_batches_tracked.clamp(min=1) if self.momentum is None else self.momentum
        weight = torch.where(enough, weight, 0).to(self.running_mean)
        covariance = centred @ centred.mT / (count - 1).clamp(min=1)
        self.running_mean.lerp_(mean.flatten().to(self.running_mean), weight)
        self.running_covariance.lerp_(covariance.to(self.running_covariance), weight)

    def extra_repr(self) -> str:
        """The arguments, as `BatchNorm2d` shows its own."""
        return (
            f"{self.num_features}, eps={self.eps}, momentum={self.momentum}, affine={self.affine}, "
            f"track_running_stats={self.track_running_stats}, groups={self.groups}, method={self.method}"
        )
