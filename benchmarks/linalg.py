"""gcp.linalg beside torch.linalg: gradients where values are equal, and time; writes benchmarks/linalg.md.

python -m benchmarks.linalg                  # all of it; minutes
python -m benchmarks.linalg --pairs 3 --sizes 16 --tasks 2  # to see that it works
"""

from __future__ import annotations

import argparse
import os
import statistics
import time
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import torch
from torch import Tensor

import gcp
from benchmarks.baselines.plain import by_eigh, by_svd
from benchmarks.degenerate import Count, Task, measure
from benchmarks.environment import environment
from benchmarks.linalg_tasks import APPROXIMATE, SQRTH, TASKS, thin
from benchmarks.report import table

Function = Callable[[Tensor], Tensor | tuple[Tensor, ...]]

PAGE = """# gcp.linalg beside torch.linalg

{facts}. Made by `python -m benchmarks.linalg`.

## Gradients at equal, nearly equal and null values

Of functions that have a derivative whatever is equal: real (float32, float64) and complex matrices with eigenvalues or
singular values that are equal, 1e-3 to 1e-15 apart, null or apart, square, tall and wide, at scales of 1, 1e-30 and
1e30. The error is that of the gradient of a weighted sum of the function's entries, relative, against central
differences of order 8 of the function in float64. *Wrong*: by more than 1 %. *Imprecise*: half of the digits of the
type are lost; where the gap to a near neighbour is divided by, that is rounding over the gap. Losses of single vectors
of equal values have no derivative: the gauge check says so, and no row is about them.

{right}

The other methods replace 1/(lam_i - lam_j) by something else on purpose. They are finite and equal their own formula
(`tests/gcp/linalg/test_degenerate.py`); this is how far that is from the derivative. `trunc` has an absolute limit,
which acts on whatever is small; `pi` treats two vectors of one eigenspace unequally.

{approximate}

## Time

Forward and backward of {batch} float64 matrices, {pairs} pairs taken in turns, on a machine with a load of {load:.0f}.
Ratios are theirs over ours, above 1 ours is faster: of the time that passed, the median of the pairs and their
quartiles; and of the time of processors, all threads together, the median. On several threads ours decomposes a matrix
on each, and torch one matrix after the other on all. Of small matrices the time is that of Python.

{times}
"""


def errors(tasks: tuple[Task, ...]) -> tuple[list[tuple[str, ...]], list[tuple[str, ...]]]:
    """Rows of the two tables of gradients."""
    right: list[tuple[str, ...]] = []
    approximate: list[tuple[str, ...]] = []
    for task in tasks:
        for name, count in measure(task).items():
            row = _row(task.name, name, count, bold=name in task.ours)
            (approximate if name.rpartition(", ")[2] in APPROXIMATE else right).append(row)
            print(*row, sep="  ", flush=True)
    return right, approximate


def _row(task: str, name: str, count: Count, bold: bool) -> tuple[str, ...]:
    figures = (str(figure) for figure in (count.cases, count.nan, count.wrong, count.imprecise))
    return task, f"**{name}**" if bold else name, *figures, f"{count.worst:.0e}"


def competitors() -> dict[tuple[str, str], tuple[Function, Function]]:
    """What is timed, by its names: ours and theirs."""
    root: Function = lambda A: gcp.spectral_function(A, "sqrt", "lyapunov")  # noqa: E731
    found: dict[tuple[str, str], tuple[Function, Function]] = {}
    if SQRTH is not None:
        found["spectral_function", "torch.linalg.matrix_sqrth"] = (root, SQRTH)
    found["spectral_function", "autograd through eigh"] = (root, by_eigh)
    found["spectral_function", "autograd through svd"] = (root, by_svd)
    for method in ("taylor", "pade"):
        found[f"eigh, {method}", "torch.linalg.eigh"] = (_eigh(method), torch.linalg.eigh)
        found[f"svd, {method}", "torch.linalg.svd"] = (_svd(method), thin)
    found["polar", "autograd through svd"] = (gcp.linalg.polar, _polar_by_svd)
    return found


def _eigh(method: str) -> Function:
    return lambda A: gcp.linalg.eigh(A, method=method)


def _svd(method: str) -> Function:
    return lambda A: gcp.linalg.svd(A, method=method)


def _polar_by_svd(A: Tensor) -> Tensor:
    U, _, Vh = thin(A)
    product: Tensor = U @ Vh
    return product


class Clocks(NamedTuple):
    """Seconds by the clock on the wall, and of processors, of all threads together."""

    wall: float
    processor: float


def measured(ours: Function, theirs: Function, A: Tensor, pairs: int) -> list[tuple[Clocks, Clocks]]:
    """Seconds of both, forward and backward, in turns; each goes first every other time."""
    steps = [_step(function, A) for function in (ours, theirs)]
    for step in steps:
        step()
    found = []
    for pair in range(pairs):
        seconds = {}
        for which in (pair % 2, 1 - pair % 2):
            before = Clocks(time.perf_counter(), time.process_time())
            steps[which]()
            seconds[which] = Clocks(time.perf_counter() - before.wall, time.process_time() - before.processor)
        found.append((seconds[0], seconds[1]))
    return found


def _step(function: Function, A: Tensor) -> Callable[[], None]:
    A = A.clone().requires_grad_()
    results = function(A)
    results = results if isinstance(results, tuple) else (results,)
    generator = torch.Generator().manual_seed(1)
    cotangents = [torch.randn(part.shape, generator=generator, dtype=part.dtype) for part in results]

    def step() -> None:
        torch.autograd.grad(function(A), A, cotangents)

    return step


def times(batch: int, size: int, pairs: int, threads: int) -> list[tuple[str, ...]]:
    """Rows of the table of times; matrices are covariances of noise."""
    torch.set_num_threads(threads)
    x = torch.randn(batch, size, 2 * size, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    A = x @ x.mT / x.shape[-1]
    rows: list[tuple[str, ...]] = []
    for names, (ours, theirs) in competitors().items():
        found = measured(ours, theirs, A, pairs)
        low, middle, high = statistics.quantiles([there.wall / here.wall for here, there in found], n=4)
        processors = statistics.median(there.processor / here.processor for here, there in found)
        rows.append((*names, str(size), str(threads), f"{middle:.2f}", f"{low:.2f} to {high:.2f}", f"{processors:.2f}"))
        print(*rows[-1], sep="  ", flush=True)
    return rows


def main(arguments: list[str] | None = None) -> None:
    """Measure and write the page."""
    parser = argparse.ArgumentParser("benchmarks.linalg", description=__doc__.splitlines()[0])
    parser.add_argument("--batch", type=int, default=8)
    parser.add_argument("--sizes", type=int, nargs="+", default=[256, 16])
    parser.add_argument("--pairs", type=int, default=20)
    parser.add_argument("--tasks", type=int, default=len(TASKS), help="only so many functions at equal values")
    parser.add_argument("--out", type=Path, default=Path(__file__).with_suffix(".md"))
    args = parser.parse_args(arguments)
    numbers = sorted({1, torch.get_num_threads()}, reverse=True)
    timed = [row for size in args.sizes for threads in numbers for row in times(args.batch, size, args.pairs, threads)]
    load = os.getloadavg()[1]
    head = ("function", "by", "cases", "NaN, infinite", "wrong", "imprecise", "largest error")
    right, approximate = ("\n".join(table(head, rows)).strip() for rows in errors(TASKS[: args.tasks]))
    facts = ", ".join(f"{key} {value}" for key, value in environment().items() if value and key != "threads")
    page = PAGE.format(
        facts=facts,
        right=right,
        approximate=approximate,
        batch=args.batch,
        load=load,
        pairs=args.pairs,
        times="\n".join(
            table(("gcp", "beside", "size", "threads", "median", "quartiles", "processors"), timed)
        ).strip(),
    )
    args.out.write_text(page)


if __name__ == "__main__":
    main()
