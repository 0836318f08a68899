"""A GPU that is not there: shapes and devices of what would be computed on it, forward and backward."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

aten = torch.ops.aten
ANSWERS = {"all": True, "any": False, "eq": True}  # of checks whose matrices are as they should be


class PretendedGPU(TorchDispatchMode):
    """Looks inside this library's own operators, answers their checks, and notes every tensor made on the CPU."""

    def __init__(self) -> None:
        super().__init__()
        self.on_cpu: list[str] = []
        self._made_by: dict[int, tuple[Tensor, str]] = {}

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        if func.namespace == "gcp":
            with self:
                return func._op_dk(torch._C.DispatchKey.CompositeExplicitAutograd, *args, **kwargs)
        name = str(func.overloadpacket).removeprefix("aten.")
        if name == "is_nonzero":
            return ANSWERS[self._made_by[id(args[0])][1]]
        if name in ("item", "_local_scalar_dense"):  # how many samples are not as they should be
            return 0
        if name == "nonzero":
            return args[0].new_empty((0, args[0].dim()), dtype=torch.long)
        result = func(*args, **kwargs)
        for tensor in tree_leaves(result):
            if isinstance(tensor, Tensor):
                self._made_by[id(tensor)] = (tensor, name)  # kept, so that no other gets its id
                if tensor.device.type == "cpu":
                    self.on_cpu.append(name)
        return result


@contextmanager
def pretended_gpu() -> Iterator[PretendedGPU]:
    """Tensors hold nothing, and can be on a GPU."""
    with FakeTensorMode(), PretendedGPU() as gpu:
        yield gpu


def gradients(output: Tensor, inputs: list[Tensor]) -> list[Tensor | None]:
    """Those of the sum of ``output``: the graph walked in Python, since torch's engine asks for a real GPU."""
    grads: dict[Any, list[Tensor | None]] = {output.grad_fn: [None] * output.output_nr + [torch.ones_like(output)]}
    found: dict[int, Tensor] = {}
    for node in _order(output.grad_fn):
        collected = grads.pop(node, [])
        width = len(node._input_metadata) if hasattr(node, "_input_metadata") else len(collected)
        collected += [None] * (width - len(collected))
        if hasattr(node, "variable"):
            (found[id(node.variable)],) = collected
            continue
        if all(grad is None for grad in collected):
            continue
        results = node.apply(*collected) if hasattr(node, "apply") else node(*collected)
        results = results if isinstance(results, tuple) else (results,)
        for (following, place), result in zip(node.next_functions, _of_tensors(node, results), strict=True):
            if following is None or result is None:
                continue
            meta = following._input_metadata[place]
            result = result.sum_to_size(meta.shape).to(meta.dtype)  # as torch's engine does
            slots = grads.setdefault(following, [])
            slots += [None] * (place + 1 - len(slots))
            slots[place] = result if slots[place] is None else slots[place] + result
    return [found.get(id(each)) for each in inputs]


def _of_tensors(node: Any, results: tuple[Any, ...]) -> list[Any]:
    """A Function's backward gives a result for each argument, and only tensors have a following node."""
    if len(results) == len(node.next_functions):
        return list(results)
    mask = node.needs_input_grad
    tensors = [result for result, needed in zip(results, mask, strict=True) if needed]
    kept = iter(tensors)
    return [next(kept) if following is not None else None for following, _ in node.next_functions]


def _order(root: Any) -> list[Any]:
    """Every node before those it feeds."""
    seen: set[Any] = set()
    ordered: list[Any] = []

    def visit(node: Any) -> None:
        if node is None or node in seen:
            return
        seen.add(node)
        for following, _ in node.next_functions:
            visit(following)
        ordered.append(node)

    visit(root)
    return ordered[::-1]


def run(build: Callable[[], Callable[[Tensor], Any]], *shape: int, dtype: torch.dtype = torch.float32) -> list[str]:
    """Names of operations whose results were on the CPU when what ``build`` gives was called and differentiated.

    Raises what torch does when devices are mixed, and AssertionError for a result elsewhere.
    """
    before = torch.get_default_dtype()
    torch.set_default_dtype(dtype)
    try:
        with pretended_gpu() as gpu:
            with torch.device("cuda"):
                function, x = build(), torch.empty(shape, requires_grad=True)
            gpu.on_cpu.clear()
            outputs = [part for part in tree_leaves(function(x)) if isinstance(part, Tensor) and part.requires_grad]
            for output in outputs:
                assert output.device.type == "cuda"
                (grad,) = gradients(output, [x])
                assert grad is not None
                assert grad.device.type == "cuda"
                assert grad.shape == x.shape
            assert outputs
            return gpu.on_cpu
    finally:
        torch.set_default_dtype(before)
