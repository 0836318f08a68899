"""ZCA batch whitening: batch normalisation that also removes the correlation between channels."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from gcp.autograd import without_autocast
from gcp.errors import MissingVarianceError, OptionError, ShapeError
from gcp.features import at_least_float32, check_floating, working
from gcp.functions import check_plain, matrix_function, prepare
from gcp.kept_function import KeptFunction
from gcp.moments import Moments, by_channel, by_sample, moments, without_rounding
from gcp.options import check_type
from gcp.processes import several_processes
from gcp.spectral.maps import InverseSquareRoot


class Whitening(_BatchNorm):
    """y = P^(-1/2) (x - mean), P the covariance of the channels over batch and positions (arXiv 1804.08450).

    Takes the place of ``BatchNorm1d``, ``2d`` and ``3d``: the same shape and memory format, buffers ``running_mean``
    and ``num_batches_tracked``, ``running_covariance`` in place of ``running_var``, normalised by the biased and
    tracked by the unbiased estimate. P^(-1/2) is symmetric (ZCA), so channels keep their meaning. ``half()`` and
    ``bfloat16()`` leave the running statistics in float32; those of a state dict in half precision come back to it. In
    eval mode P^(-1/2) is computed once and kept for as long as ``running_covariance`` has the same values.

    It is one of torch's ``_BatchNorm``, so that ``torch.optim.swa_utils.update_bn`` finds it. ``SyncBatchNorm.
    convert_sync_batchnorm``, which would put a batch normalisation in its place, stops at it for want of
    ``running_var``: ``sync=True`` does what that is for.

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
        device: of parameters and buffers.
        dtype: of the parameters, and of the buffers unless it is below float32.
        sync: in training, statistics over the batches of all processes of the default process group, if there is one,
            as ``SyncBatchNorm`` takes them; the gradient goes through them all.
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
    sync: bool = False  # here, too, for modules that were pickled before it was an argument
    _kept: KeptFunction | None = None

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
        *,
        device: torch.device | str | int | None = None,
        dtype: torch.dtype | None = None,
        sync: bool = False,
        **options: Any,
    ) -> None:
        nn.Module.__init__(self)  # that of _BatchNorm makes a running_var
        for name, value, kind in (
            ("num_features", num_features, int),
            ("momentum", momentum, float | None),
            ("affine", affine, bool),
            ("track_running_stats", track_running_stats, bool),
            ("groups", groups, int),
            ("device", device, torch.device | str | int | None),
            ("dtype", dtype, torch.dtype | None),
            ("sync", sync, bool),
        ):
            check_type(name, value, kind)
        if num_features < 1 or groups < 1 or num_features % groups:
            raise OptionError(f"groups must divide the channels, got groups={groups} for num_features={num_features}")
        if momentum is not None and not 0 <= momentum <= 1:
            raise OptionError(f"momentum must be None or between 0 and 1, got {momentum}")
        dtype = torch.get_default_dtype() if dtype is None else dtype
        if not dtype.is_floating_point:
            raise OptionError(f"dtype must be a floating-point type, got {dtype}")
        self.num_features = num_features
        self.momentum = momentum
        self.affine = affine
        self.track_running_stats = track_running_stats
        self.groups = groups
        self.method = method
        self.sync = sync
        self.prepared = prepare(_inverse_root(eps, relative), method, options)
        self.prepared.options.check_channels(num_features // groups)
        check_plain(self.prepared.options)
        for name in ("weight", "bias"):
            gain = nn.Parameter(torch.empty(num_features, device=device, dtype=dtype)) if affine else None
            self.register_parameter(name, gain)
        size, wide = num_features // groups, at_least_float32(dtype)
        mean = torch.empty(num_features, device=device, dtype=wide)
        covariance = torch.empty(groups, size, size, device=device, dtype=wide)
        self.register_buffer("running_mean", mean if track_running_stats else None)
        self.register_buffer("running_covariance", covariance if track_running_stats else None)
        self.register_buffer("num_batches_tracked", torch.tensor(0, device=device) if track_running_stats else None)
        self.reset_parameters()

    @property
    def eps(self) -> float:
        """What the covariance is raised by; it may be set, as batch normalisation's may."""
        eps: float = self.prepared.function.eps
        return eps

    @eps.setter
    def eps(self, value: float) -> None:
        function = self.prepared.function
        assert isinstance(function, InverseSquareRoot)
        self.prepared = dataclasses.replace(self.prepared, function=_inverse_root(value, function.relative))

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
        if self.weight is not None:
            nn.init.ones_(self.weight)
        if self.bias is not None:
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

    def __getattr__(self, name: str) -> Any:
        """As in ``nn.Module``; what asks for the variances takes this for a batch normalisation."""
        if name == "running_var":
            raise MissingVarianceError(
                "Whitening has no running_var, but a running_covariance: what asks for it would treat this layer as a "
                "batch normalisation; in place of SyncBatchNorm.convert_sync_batchnorm set sync=True"
            )
        return super().__getattr__(name)

    def __getstate__(self) -> dict[str, Any]:
        """Without what can be computed again; for copies and pickles."""
        return {name: value for name, value in self.__dict__.items() if name != "_kept"}

    def forward(self, features: Tensor) -> Tensor:
        """(B, C), (B, C, N), (B, C, H, W) or (B, C, T, H, W), whitened, in the same shape, dtype and memory format.

        With the option ``nonfinite="zero"`` a sample with NaN or infinity is left out of the statistics, gives 0 and
        gets no gradient.

        Raises:
            DtypeError: not a tensor of real floating-point numbers.
            ShapeError: another shape, or in training fewer than two values per channel.
            NonFiniteError: NaN or infinity among the values that statistics are taken of.
        """
        check_floating(features, "features")
        if features.dim() not in (2, 3, 4, 5) or features.shape[1] != self.num_features:
            raise ShapeError(
                f"features must be (B, {self.num_features}), (B, {self.num_features}, N), "
                f"(B, {self.num_features}, H, W) or (B, {self.num_features}, T, H, W), got shape "
                f"{tuple(features.shape)}"
            )
        with without_autocast(features):
            # Half precision would spoil the product with an inverse root as large as 1/sqrt(eps).
            values = working(features)
            usable = None
            if self.prepared.options.nonfinite == "zero":
                usable = values.isfinite().flatten(1).all(1).view(-1, *(1,) * (features.dim() - 1))
                values = torch.where(usable, values, 0)
            present = None if usable is None else usable.expand_as(values[:, :1]).reshape(-1)
            whitened = by_sample(self._whiten(by_channel(values, self.groups), present), features)
            per_channel = (-1,) + (1,) * (features.dim() - 2)
            if self.weight is not None:
                whitened = whitened * self.weight.view(per_channel)
            if self.bias is not None:
                whitened = whitened + self.bias.view(per_channel)
            if usable is not None:
                whitened = torch.where(usable, whitened, 0)
        return whitened.to(features.dtype)

    def _whiten(self, samples: Tensor, present: Tensor | None) -> Tensor:
        """(groups, C/groups, M), M values per channel, whitened; ``present`` (M,): those that count; None: all."""
        if not self.training and self.running_mean is not None and self.running_covariance is not None:
            mean = self.running_mean.to(samples.dtype).view(*samples.shape[:2], 1)
            return self._whitener(self.running_covariance, samples.dtype) @ (samples - mean)
        of_batch = moments(samples, present, together=self.sync and self.training and several_processes())
        whitener = of_batch.covariance_function(self.prepared)
        if self.training:
            self._track(of_batch)
        return whitener @ of_batch.centred

    def _whitener(self, covariance: Tensor, dtype: torch.dtype) -> Tensor:
        """P^(-1/2) (groups, C/groups, C/groups) of the running covariance, in ``dtype``; kept where it can be."""
        if not KeptFunction.can_keep(covariance):
            whitener: Tensor = matrix_function(covariance.to(dtype), self.prepared)
            return whitener
        if self._kept is None or not self._kept.serves(covariance, dtype, self.prepared):
            self._kept = KeptFunction.of(covariance, dtype, self.prepared)
        return self._kept.result

    @torch.no_grad()
    def _track(self, of_batch: Moments) -> None:
        """Take one batch into the running statistics, if its values are enough for any."""
        if self.running_mean is None or self.running_covariance is None or self.num_batches_tracked is None:
            return
        enough = of_batch.count > 1
        self.num_batches_tracked.add_(enough)
        weight = 1 / self.num_batches_tracked.clamp(min=1) if self.momentum is None else self.momentum
        weight = torch.where(enough, weight, 0).to(self.running_mean)
        self.running_mean.lerp_(of_batch.mean.flatten().to(self.running_mean), weight)
        self.running_covariance.lerp_(of_batch.unbiased_covariance().to(self.running_covariance), weight)

    def extra_repr(self) -> str:
        """The arguments, as `BatchNorm2d` shows its own."""
        return (
            f"{self.num_features}, eps={self.eps}, momentum={self.momentum}, affine={self.affine}, "
            f"track_running_stats={self.track_running_stats}, groups={self.groups}, method={self.method}"
            + (", sync=True" if self.sync else "")
        )


def _inverse_root(eps: float, relative: bool) -> InverseSquareRoot:
    check_type("eps", eps, float)
    if not eps > 0:
        raise OptionError(f"eps must be greater than 0, got {eps}")
    return InverseSquareRoot(eps=eps, relative=relative)
