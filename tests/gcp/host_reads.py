"""What makes a GPU wait for the CPU: operations that read a tensor's values on the host."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

aten = torch.ops.aten
READS = (
    aten._local_scalar_dense, aten.is_nonzero, aten.item, aten.equal, aten.allclose, aten.nonzero, aten.masked_select,
    aten.unique_dim, aten._unique2, aten.unique_consecutive, aten.repeat_interleave,
)  # fmt: skip
# Of torch's own, which look at LAPACK's info whatever one does.
DECOMPOSITIONS = (aten.linalg_eigh, aten.linalg_svd, aten._linalg_eigh, aten._linalg_svd)


class HostReads(TorchDispatchMode):
    """Counts them by name, those inside this library's own operators too, and decompositions, which read once each."""

    def __init__(self) -> None:
        super().__init__()
        self.reads: Counter[str] = Counter()
        self.decompositions: Counter[str] = Counter()
        self.operations: Counter[str] = Counter()

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        packet = func.overloadpacket
        if func.namespace == "gcp":
            with self:
                return func._op_dk(torch._C.DispatchKey.CompositeExplicitAutograd, *args, **(kwargs or {}))
        name = str(packet).removeprefix("aten.")
        self.operations[name] += 1
        by_mask = packet in (aten.index, aten.index_put, aten.index_put_) and any(
            isinstance(index, torch.Tensor) and index.dtype in (torch.bool, torch.uint8) for index in args[1]
        )
        if packet in READS or by_mask:
            self.reads[name] += 1
        if packet in DECOMPOSITIONS:
            self.decompositions[name] += 1
        return func(*args, **(kwargs or {}))


def host_reads(function: Callable[[Tensor], Any], *shape: int) -> tuple[int, int]:
    """How often values of tensors are read, and matrices decomposed, in a forward of noise and its backward."""
    x = torch.randn(shape, generator=torch.Generator().manual_seed(0), requires_grad=True)
    with HostReads() as counted:
        outputs = [part for part in tree_leaves(function(x)) if isinstance(part, Tensor) and part.requires_grad]
        torch.autograd.backward([part.sum() for part in outputs])
    return sum(counted.reads.values()), sum(counted.decompositions.values())
