"""What goes on in the pooling layer: eigenvalues of its covariances and its gradients, every so many steps."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import pytorch_lightning as pl
import torch
from pytorch_lightning.callbacks import Callback
from torch import Tensor, nn

from gcp.covariance import decomposed_root, spectral_method
from gcp.diagnostics.smoothness import ETAS, effective_smoothness
from gcp.diagnostics.spectrum import spectrum_statistics
from gcp.pooling.base import MatrixPooling
from lightning_modules import metric_names as names
from lightning_modules.classifier import Classifier
from lightning_modules.loggers.media import log_histogram, log_numbers
from lightning_modules.run.spec import Run
from lightning_modules.settings.callback_options import CallbackOptions
from lightning_modules.switching import pooling_of, weights_before

SAMPLES = 8  # images of a batch whose covariances are decomposed


def build(run: Run, options: CallbackOptions) -> SpectrumMonitor | None:
    """The callback of ``callbacks.spectrum_every_n_steps`` and ``callbacks.smoothness_every_n_steps``."""
    every, smoothness_every = options.spectrum_every_n_steps, options.smoothness_every_n_steps
    return SpectrumMonitor(every, smoothness_every) if every or smoothness_every else None


class SpectrumMonitor(Callback):
    """Measures and logs; changes nothing of the training.

    Logged every ``every`` steps, as medians over `SAMPLES` images: what `SpectrumStatistics` has; a histogram of the
    eigenvalues; the norms of dℓ/dy that goes into the layer's backward and of dℓ/dx that comes out; and, where the
    layer gives the square root of the covariance, the relative error of dℓ/dx against the exact derivative for the same
    dℓ/dy.

    Args:
        every: steps between two measurements; None: none of these.
        smoothness_every: steps between two measurements of the beta-smoothness of the convolution before the layer, on
            the whole batch, five more forward and backward passes; None: not measured. On one device only.
    """

    def __init__(self, every: int | None, smoothness_every: int | None = None) -> None:
        self.every = every
        self.smoothness_every = smoothness_every
        self._handles: list[Any] = []
        self._seen: dict[str, Tensor] = {}

    def on_train_batch_start(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, batch: Any, batch_idx: int
    ) -> None:
        """Hook onto the layer in a step that is measured."""
        assert isinstance(pl_module, Classifier)
        if batch_idx % trainer.accumulate_grad_batches:
            return
        if self.smoothness_every and trainer.global_step % self.smoothness_every == 0 and trainer.world_size == 1:
            beta = _smoothness(pl_module, trainer, batch)
            log_numbers(trainer.loggers, {names.SMOOTHNESS: beta}, trainer.global_step)
        if self.every and trainer.global_step % self.every == 0:
            pooling = pooling_of(pl_module.model)
            if isinstance(pooling, MatrixPooling):
                self._handles.append(pooling.register_forward_hook(self._keep_tensors))

    def on_train_batch_end(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Measure what the hooks have seen."""
        if not self._handles:
            return
        self._remove()
        seen, self._seen = self._seen, {}
        if {"x", "grad_x", "grad_y"} <= set(seen) and trainer.is_global_zero:
            assert isinstance(pl_module, Classifier)
            self._measure(trainer, pooling_of(pl_module.model), seen)

    def on_exception(self, trainer: pl.Trainer, pl_module: pl.LightningModule, exception: BaseException) -> None:
        """Leave no hook behind."""
        self._remove()
        self._seen = {}

    def _keep_tensors(self, pooling: nn.Module, inputs: tuple[Tensor], output: Tensor) -> None:
        x = inputs[0]
        if not (x.requires_grad and output.requires_grad):
            return
        self._seen["x"] = x.detach()
        for name, tensor in (("grad_x", x), ("grad_y", output)):
            tensor.register_hook(self._keep(name))  # type: ignore[no-untyped-call]  # torch declares no types

    def _keep(self, name: str) -> Callable[[Tensor], None]:
        def keep(gradient: Tensor) -> None:
            self._seen[name] = gradient.detach()

        return keep

    def _measure(self, trainer: pl.Trainer, pooling: nn.Module, seen: dict[str, Tensor]) -> None:
        x, grad_x, grad_y = seen["x"], seen["grad_x"], seen["grad_y"]
        norms = {
            names.GRAD_INTO_LAYER: torch.linalg.vector_norm(grad_y.float()).item(),
            names.GRAD_OUT_OF_LAYER: torch.linalg.vector_norm(grad_x.float()).item(),
        }
        few = slice(0, SAMPLES)
        exact, eigenvalues, positions = exact_gradient(pooling, x[few], grad_y[few])
        statistics = spectrum_statistics(eigenvalues, x.shape[1], positions)
        measured = {
            names.of(names.SPECTRUM_SECTION, name): value.nanmedian().item()
            for name, value in statistics._asdict().items()
        }
        if exact is not None:
            difference = torch.linalg.vector_norm((grad_x[few] - exact).double())
            measured[names.GRAD_ERROR] = (difference / torch.linalg.vector_norm(exact.double())).item()
        finite = {name: value for name, value in {**measured, **norms}.items() if math.isfinite(value)}
        log_numbers(trainer.loggers, finite, trainer.global_step)
        relative = eigenvalues / eigenvalues[:, :1]
        log_histogram(trainer.loggers, names.EIGENVALUES, relative[relative > 0].log10().tolist(), trainer.global_step)

    def _remove(self) -> None:
        for handle in self._handles:
            handle.remove()
        self._handles = []


def exact_gradient(pooling: nn.Module, x: Tensor, grad_y: Tensor) -> tuple[Tensor | None, Tensor, int]:
    """What the exact square root makes of the covariance that is pooled, shrunk or not centred if the options say so.

    Returns:
        dℓ/dx for the pooling's own dℓ/dy, None for a pooling that gives another function of the covariance; the
        eigenvalues (B, n) of the covariances, and the number of positions these are decomposed from.
    """
    assert isinstance(pooling, MatrixPooling)
    leaf = x.float().requires_grad_()
    with torch.enable_grad(), torch.autocast(x.device.type, enabled=False):
        features = pooling.with_plain_covariance(leaf)
        root, _, eigenvalues = decomposed_root(features, spectral_method("lyapunov", nonfinite="zero"))
        positions = features[0, 0].numel()
        if not pooling.gives_root:
            return None, eigenvalues, positions
        (exact,) = torch.autograd.grad(pooling.vector(root), leaf, grad_y.to(root.dtype))
    return exact, eigenvalues, positions


def _smoothness(module: Classifier, trainer: pl.Trainer, batch: Any) -> float:
    images, labels = batch
    lr = trainer.optimizers[0].param_groups[0]["lr"]
    with torch.random.fork_rng(devices=[images.device] if images.is_cuda else []):  # dropout draws
        return effective_smoothness(
            lambda: module.loss(module(images), labels),
            weights_before(module.model),
            [eta * lr for eta in ETAS],
            [module.model],
        )
