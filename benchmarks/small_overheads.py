"""What a layer calls where there is least to compute: python -m benchmarks.small_overheads writes small_overheads.md.

One sample of 64 channels and 7 x 7 positions: operators of torch's that a forward and a backward call, which no other
work on the machine changes, and the time of one thread.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable
from pathlib import Path

import torch
from torch import Tensor, nn

from benchmarks.dispatched import Dispatched
from benchmarks.environment import environment
from benchmarks.floor import Floor
from benchmarks.layers import feature_map
from benchmarks.report import table
from gcp.methods import list_methods
from gcp.pooling.factory import create_pooling

SHAPE = (1, 64, 7, 7)
VIEWS = (
    "view", "_unsafe_view", "expand", "transpose", "unsqueeze", "squeeze", "slice", "select", "detach", "alias", "mT",
    "mH", "unflatten", "flatten", "reshape", "numpy_T", "diagonal", "permute", "as_strided", "promote_types", "item",
)  # fmt: skip


def calls(step: Callable[[], object]) -> tuple[int, int]:
    """Operators that ``step`` calls, and those of them that compute something."""
    with Dispatched() as dispatched:
        step()
    counted = dispatched.counted
    return sum(counted.values()), sum(count for name, count in counted.items() if name not in VIEWS)


def microseconds(step: Callable[[], object], repeats: int) -> float:
    """Median time that the thread computed in ``step``; what it waits for others does not count."""
    taken = []
    for _ in range(repeats + 1):
        start = time.thread_time()
        step()
        taken.append(time.thread_time() - start)
    return 1e6 * statistics.median(taken[1:])


def passes(layer: nn.Module) -> tuple[Callable[[], object], Callable[[], object]]:
    """Forward alone, and forward and backward."""
    x = feature_map(*SHAPE, torch.device("cpu")).requires_grad_()
    with torch.no_grad():
        grad = torch.randn_like(layer(x))

    def forward() -> Tensor:
        vector: Tensor = layer(x)
        return vector

    return forward, lambda: torch.autograd.grad(forward(), x, grad)


def main(arguments: list[str] | None = None) -> None:
    """Count and time every layer and the floor, and write the page."""
    parser = argparse.ArgumentParser("benchmarks.small_overheads", description=__doc__.splitlines()[0])
    parser.add_argument("--repeats", type=int, default=200)
    parser.add_argument("--out", type=Path, default=Path(__file__).with_suffix(".md"))
    args = parser.parse_args(arguments)
    torch.set_num_threads(1)
    rows = []
    floor = Floor(feature_map(*SHAPE, torch.device("cpu")), torch.randn(1, SHAPE[1] * (SHAPE[1] + 1) // 2))
    bare = microseconds(lambda: (floor.forward(), floor.backward()), args.repeats)
    rows.append(("floor", *map(str, calls(floor.forward)), *map(str, calls(floor.backward)), f"{bare:.0f}", "1.00"))
    for name in list_methods():
        forward, both = passes(create_pooling(name, SHAPE[1]))
        first, all_calls = calls(forward), calls(both)
        taken = microseconds(both, args.repeats)
        rows.append((name, *map(str, first), *(str(a - f) for a, f in zip(all_calls, first, strict=True)),
                     f"{taken:.0f}", f"{taken / bare:.2f}"))  # fmt: skip
    facts = environment()
    head = ("layer", "forward calls", "that compute", "backward calls", "that compute", "µs", "over floor")
    args.out.write_text(
        "# What a layer calls where there is least to compute\n\n"
        f"`python -m benchmarks.small_overheads`; date {facts['date']}, torch {facts['torch']}, cpu {facts['cpu']}. "
        f"One sample of {SHAPE[1]} channels and {SHAPE[2]} x {SHAPE[3]} positions, float32: operators of torch's that "
        "are called, views among them, and those that compute something; the time of one thread for both, its waiting "
        "not counted, median.\n\n" + "\n".join(table(head, rows))
    )
    print(args.out.read_text())


if __name__ == "__main__":
    main()
