"""Torch's operators as they are called, those inside this library's own operators too."""

from __future__ import annotations

from collections import Counter
from typing import Any

import torch
from torch.utils._python_dispatch import TorchDispatchMode


class Dispatched(TorchDispatchMode):  # type: ignore[no-untyped-call]  # torch leaves it untyped
    """Calls `call` for each operator of torch's, with its name; counts them.

    >>> with Dispatched() as dispatched:
    ...     _ = torch.ones(2) + 1
    >>> dict(dispatched.counted)
    {'ones': 1, 'add': 1}
    """

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]  # as above
        self.counted: Counter[str] = Counter()

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if func.namespace == "gcp":
            with self:
                return func._op_dk(torch._C.DispatchKey.CompositeExplicitAutograd, *args, **(kwargs or {}))
        name = str(func.overloadpacket).removeprefix("aten.")
        self.counted[name] += 1
        return self.call(name, func, args, kwargs or {})

    def call(self, name: str, func: Any, args: Any, kwargs: Any) -> Any:
        """The operator's result."""
        return func(*args, **kwargs)
