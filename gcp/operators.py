"""Custom operators: what looks into the data, opaque to torch.compile and vmap."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor


def define_operator(
    schema: str, run: Callable[..., Any], allocate: Callable[..., Any], vmap: Callable[..., Any]
) -> None:
    """The operator ``torch.ops.gcp.NAME``.

    Not by torch.library.custom_op, whose first call imports torch._dynamo: seconds, and more packages than torch needs.

    Args:
        schema: "NAME(Tensor x, ...) -> Tensor".
        run: what it does.
        allocate: tensors like its results, from its arguments.
        vmap: ``vmap(info, in_dims, *arguments)`` gives the results and their batch dimensions.
    """
    name = f"gcp::{schema.partition('(')[0]}"
    torch.library.define(name, schema[schema.index("(") :])
    torch.library.impl(name, "default", run)
    torch.library.register_fake(name, allocate)
    torch.library.register_vmap(name, vmap)


def flattened(info: Any, in_dims: tuple[int | None, ...], arguments: tuple[Any, ...]) -> list[Any]:
    """Arguments of an operator on batches (B, ...) under vmap, with the mapped dimension as part of the batch.

    A tensor that is not mapped over is repeated; what is no tensor stays.
    """
    parts: list[Any] = []
    for value, dim in zip(arguments, in_dims, strict=True):
        if isinstance(value, Tensor):
            whole = value.expand(info.batch_size, *value.shape) if dim is None else value.movedim(dim, 0)
            value = whole.flatten(0, 1)
        parts.append(value)
    return parts
