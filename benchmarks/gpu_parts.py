"""What is measured on a GPU alone: ways to decompose, waiting for the GPU, graphs, and collectives."""

from __future__ import annotations

import socket
import warnings
from collections.abc import Callable, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import torch
from torch import Tensor

from benchmarks.layers import feature_map
from benchmarks.measure import interleaved, timed
from gcp.methods import METHODS, list_methods
from gcp.options import option_names
from gcp.pooling.factory import create_pooling
from gcp.spectral import lapack, solvers

CLASSIFIER = 32896 * 1000 + 1000  # numbers of a linear classifier of 1000 classes on 256 channels' covariances


def decompositions(
    device: torch.device, batches: Sequence[int], sizes: Sequence[int], repeats: int
) -> list[dict[str, Any]]:
    """Milliseconds of each solver, and of float32 without correction, on Gram matrices of feature maps."""
    rows = []
    for size in sizes:
        for batch in batches:
            x = feature_map(batch, 256, size, 1, device).flatten(2).double()
            matrix = x.mT @ x
            ways: dict[str, Callable[[Tensor], Any]] = {**solvers.WAYS, "float32 alone": _single}
            steps = {name: (lambda way=way, matrix=matrix: way(matrix), lambda: None) for name, way in ways.items()}
            times = interleaved(steps, repeats, 10.0, device, lambda: None)
            exact, found = lapack.eigh(matrix)[0], solvers.eigh(matrix, "refined")[0]
            error = ((found - exact).abs().amax(-1) / exact[:, -1]).max().item()
            rows.append({"rows": size, "batch": batch, "refined_error": error,
                         **{name: 1e3 * time["total_s"] for name, time in times.items()}})  # fmt: skip
    return rows


def _single(matrix: Tensor) -> Any:
    return torch.linalg.eigh(matrix.float())


def waits(device: torch.device, quick: bool) -> list[dict[str, Any]]:
    """For each pooling, how often it waits for the GPU, whether a CUDA graph takes it, and its times both ways."""
    rows = []
    shape = (2, 16, 3, 3) if quick else (64, 256, 7, 7)
    for name in list_methods():
        for nonfinite in ("raise", "nan"):
            if nonfinite == "nan" and "nonfinite" not in option_names(METHODS.get(name).options):
                continue
            options: dict[str, Any] = {} if nonfinite == "raise" else {"nonfinite": nonfinite}
            layer = create_pooling(name, shape[1], **options).to(device)
            x = feature_map(*shape, device).requires_grad_()
            with torch.no_grad():
                grad = torch.randn_like(layer(x))

            def step(layer: Any = layer, x: Tensor = x, grad: Tensor = grad) -> None:
                torch.autograd.grad(layer(x), x, grad)

            step()
            eager = min(timed(step, lambda: None, device)[0] for _ in range(3))
            rows.append({"layer": f"{name} nonfinite=nan" if options else name, "eager_ms": 1e3 * eager,
                         "waits": _waits(step) if device.type == "cuda" else None,
                         "graph_ms": _in_graph(step, device) if device.type == "cuda" else None})  # fmt: skip
    return rows


def _waits(step: Callable[[], None]) -> int:
    """How often torch says that it waits for the GPU."""
    torch.cuda.set_sync_debug_mode("warn")
    try:
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            step()
    finally:
        torch.cuda.set_sync_debug_mode("default")
    return sum("synchroniz" in str(each.message) for each in caught)


def _in_graph(step: Callable[[], None], device: torch.device) -> float | None:
    """Milliseconds of a replay; None where it cannot be captured."""
    side = torch.cuda.Stream()  # type: ignore[no-untyped-call]  # torch leaves it untyped
    side.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(side):
        for _ in range(3):
            step()
    torch.cuda.current_stream().wait_stream(side)
    graph = torch.cuda.CUDAGraph()
    try:
        with torch.cuda.graph(graph):
            step()
    except RuntimeError:
        torch.cuda.synchronize()
        return None
    return 1e3 * min(timed(graph.replay, lambda: None, device)[0] for _ in range(5))


def collectives(device: torch.device, numbers: int, repeats: int) -> dict[str, Any]:
    """Seconds of an all-reduce of so many float32 numbers, the gradient of a classifier, over all GPUs."""
    processes = torch.cuda.device_count() if device.type == "cuda" else 2
    if processes < 2:
        return {"processes": processes, "seconds": None, "bytes": 4 * numbers}
    with TemporaryDirectory() as folder:
        with socket.socket() as free:
            free.bind(("localhost", 0))
            port = free.getsockname()[1]
        arguments = (processes, device.type, port, numbers, repeats, folder)
        torch.multiprocessing.spawn(_reduce, arguments, nprocs=processes)  # type: ignore[no-untyped-call]
        return {"processes": processes, "seconds": float(Path(folder, "seconds").read_text()), "bytes": 4 * numbers}


def _reduce(rank: int, processes: int, kind: str, port: int, numbers: int, repeats: int, folder: str) -> None:
    device = torch.device(kind, rank) if kind == "cuda" else torch.device(kind)
    if kind == "cuda":
        torch.cuda.set_device(device)
    torch.distributed.init_process_group(
        "nccl" if kind == "cuda" else "gloo", f"tcp://localhost:{port}", rank=rank, world_size=processes
    )
    gradient = torch.ones(numbers, device=device)
    taken = [timed(lambda: torch.distributed.all_reduce(gradient), lambda: None, device)[0] for _ in range(repeats + 1)]
    if rank == 0:
        Path(folder, "seconds").write_text(str(sorted(taken[1:])[len(taken) // 2 - 1]))
    torch.distributed.destroy_process_group()
