"""Time, memory and bytes kept for the backward of one forward and backward."""

from __future__ import annotations

import ctypes
import gc
import statistics
import sys
import time
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path

import torch
from torch import Tensor

Step = Callable[[], object]
SHORT = 0.1  # seconds


def synchronise(device: torch.device) -> None:
    """Wait for the device to finish."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def timed(forward: Step, backward: Step, device: torch.device) -> tuple[float, float]:
    """Seconds of a forward and of its backward."""
    synchronise(device)
    start = time.perf_counter()
    forward()
    synchronise(device)
    middle = time.perf_counter()
    backward()
    synchronise(device)
    return middle - start, time.perf_counter() - middle


def interleaved(
    candidates: Mapping[str, tuple[Step, Step]], repeats: int, budget: float, device: torch.device, tick: Step
) -> dict[str, dict[str, float]]:
    """Median seconds of each candidate, measured in turns, so that whatever disturbs the machine disturbs all alike.

    A candidate too slow for ``repeats`` runs within ``budget`` seconds gets fewer, at least 3. Short ones run once just
    before they are timed: what ran before would else decide what the caches hold, by half of a millisecond.
    """
    warm = {name: sum(timed(*steps, device)) for name, steps in candidates.items()}
    runs = {name: max(min(3, repeats), min(repeats, int(budget / max(warm[name], 1e-9)))) for name in candidates}
    samples: dict[str, list[tuple[float, float]]] = {name: [] for name in candidates}
    for turn in range(repeats):
        for name, steps in candidates.items():
            if turn < runs[name]:
                if warm[name] < SHORT:
                    timed(*steps, device)
                samples[name].append(timed(*steps, device))
            tick()
    return {
        name: {
            "forward_s": statistics.median(forward for forward, _ in taken),
            "backward_s": statistics.median(backward for _, backward in taken),
            "total_s": statistics.median(forward + backward for forward, backward in taken),
            "runs": len(taken),
        }
        for name, taken in samples.items()
    }


def saved_bytes(forward: Step, existing: Iterable[Tensor] = ()) -> int:
    """Bytes a forward keeps for the backward: each storage once, those of ``existing`` tensors not at all."""
    known = {tensor.untyped_storage().data_ptr() for tensor in existing}
    kept: dict[int, tuple[int, Tensor]] = {}

    def pack(tensor: Tensor) -> Tensor:
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in known:
            kept[storage.data_ptr()] = (storage.nbytes(), tensor.detach())  # held, so that no address is used twice
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
        output = forward()
    del output
    return sum(size for size, _ in kept.values())


def peak_bytes(run: Step, device: torch.device) -> int | None:
    """Most memory a run holds at a time beyond what was held before it; none where it cannot be measured.

    CUDA: the allocator's maximum. Linux: the high-water mark of resident memory, which includes LAPACK's workspace and
    what pool threads allocate. For its time, malloc is told to return every block of 64 KiB or more to the kernel, and
    before it everything that is free, so that resident memory is live memory.
    """
    gc.collect()
    if device.type == "cuda":
        synchronise(device)
        torch.cuda.reset_peak_memory_stats(device)
        before = torch.cuda.memory_allocated(device)
        run()
        synchronise(device)
        return torch.cuda.max_memory_allocated(device) - before
    clear = Path("/proc/self/clear_refs")
    if not (sys.platform == "linux" and clear.exists()):
        return None
    libc = ctypes.CDLL(None)
    libc.mallopt(_M_MMAP_THRESHOLD, 64 * 1024)
    libc.mallopt(_M_TRIM_THRESHOLD, 64 * 1024)
    try:
        run()  # buffers that are allocated once
        gc.collect()
        libc.malloc_trim(0)
        clear.write_text("5")  # resets the high-water mark
        before = _status("VmRSS")
        run()
        return max(0, _status("VmHWM") - before)
    except OSError:
        return None
    finally:
        libc.mallopt(_M_MMAP_THRESHOLD, 32 * 1024 * 1024)  # where malloc's own adjustment ends up
        # A large candidate would else empty the heap for the next one, whose time would be that of page faults.
        libc.mallopt(_M_TRIM_THRESHOLD, 2**31 - 1)


_M_MMAP_THRESHOLD, _M_TRIM_THRESHOLD = -3, -1  # of malloc.h


def _status(field: str) -> int:
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith(field + ":"):
            return int(line.split()[1]) * 1024
    raise OSError(f"no {field} in /proc/self/status")
