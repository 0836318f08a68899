"""What makes a GPU wait for the CPU: operations that read a tensor's values on the host."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.utils._pytree import tree_leaves

from benchmarks.dispatched import Dispatched

aten = torch.ops.aten
READS = (
    aten._local_scalar_dense, aten.is_nonzero, aten.item, aten.equal, aten.allclose, aten.nonzero, aten.masked_select,
    aten.unique_dim, aten._unique2, aten.unique_consecutive, aten.repeat_interleave,
)  # fmt: skip
# Of torch's own, which look at LAPACK's info whatever one does.
DECOMPOSITIONS = (aten.linalg_eigh, aten.linalg_svd, aten._linalg_eigh, aten._linalg_svd)


class HostReads(Dispatched):
    """Counts them by name, and decompositions, which read once each."""

    def __init__(self) -> None:
        super().__init__()
        self.reads: Counter[str] = Counter()
        self.decompositions: Counter[str] = Counter()

    def call(self, name: str, func: Any, args: Any, kwargs: Any) -> Any:
        packet = func.overloadpacket
        by_mask = packet in (aten.index, aten.index_put, aten.index_put_) and any(
            isinstance(index, Tensor) and index.dtype in (torch.bool, torch.uint8) for index in args[1]
        )
        if packet in READS or by_mask:
            self.reads[name] += 1
        if packet in DECOMPOSITIONS:
            self.decompositions[name] += 1
        return super().call(name, func, args, kwargs)


def host_reads(function: Callable[[Tensor], Any], *shape: int) -> tuple[int, int]:
    """How often values of tensors are read, and matrices decomposed, in a forward of noise and its backward."""
    x = torch.randn(shape, generator=torch.Generator().manual_seed(0), requires_grad=True)
    with HostReads() as counted:
        outputs = [part for part in tree_leaves(function(x)) if isinstance(part, Tensor) and part.requires_grad]
        torch.autograd.backward([part.sum() for part in outputs])
    return sum(counted.reads.values()), sum(counted.decompositions.values())
