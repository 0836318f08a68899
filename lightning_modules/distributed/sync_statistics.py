"""Batch statistics over all devices, of whitening too: ``trainer.sync_batchnorm=true``."""

from __future__ import annotations

from pytorch_lightning.plugins.layer_sync import TorchSyncBatchNorm
from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm

from gcp.whitening import Whitening


class SyncStatistics(TorchSyncBatchNorm):
    """As Lightning's, which torch's conversion would stop at a `Whitening`: that synchronises by itself."""

    def apply(self, model: nn.Module) -> nn.Module:
        """``model``, its batch normalisations replaced by synchronised ones, and its whitening told to do so."""
        for parent in list(model.modules()):
            for name, child in list(parent.named_children()):
                if isinstance(child, Whitening):
                    child.sync = True
                elif isinstance(child, _BatchNorm):
                    setattr(parent, name, nn.SyncBatchNorm.convert_sync_batchnorm(child))  # type: ignore[no-untyped-call]  # torch leaves it untyped
        return model
