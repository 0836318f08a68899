"""Gradients at equal, nearly equal and null values, of several implementations of one function, beside an oracle.

The oracle is the function itself in float64, of which values alone are asked, by central differences of order 8 at a
scale of 1. All functions here are homogeneous, so that it serves all scales.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace

import torch
from torch import Tensor

DTYPES = (torch.float32, torch.float64, torch.complex128)
EXPONENTS = (0, -100, 100)  # of 2: scales of 1, 1e-30 and 1e30, without rounding
STEP, WEIGHTS = 1e-3, (4 / 5, -1 / 5, 4 / 105, -1 / 280)  # what is left is STEP^8


@dataclass(frozen=True)
class Case:
    """A matrix and what is known of it.

    Attributes:
        matrix: (m, n), at a scale of 1.
        scale: a power of 2 that it is multiplied by.
        groups: positions of values that are equal or nearly equal, in the order in which torch.linalg has them.
    """

    matrix: Tensor
    scale: float
    groups: tuple[tuple[int, ...], ...]


Function = Callable[[Tensor, Case], Tensor]


@dataclass(frozen=True)
class Task:
    """A function that has no gauge.

    Attributes:
        name: what it is.
        ours: its implementations here, by name.
        theirs: the same by torch.linalg and autograd; the first of them is the oracle's function.
        spectra: values of its matrices: eigenvalues if they are Hermitian, else singular values.
        shapes: (m, n).
        degree: d of f(c A) = c^d f(A).
        dtypes: of its matrices.
    """

    name: str
    ours: dict[str, Function]
    theirs: dict[str, Function]
    spectra: tuple[tuple[float, ...], ...]
    shapes: tuple[tuple[int, int], ...] = ((4, 4),)
    degree: float = 0
    hermitian: bool = True
    dtypes: tuple[torch.dtype, ...] = DTYPES

    def cases(self) -> Iterator[Case]:
        """All of its matrices, at a scale of 1."""
        for values in self.spectra:
            for shape in self.shapes:
                for dtype in self.dtypes:
                    matrix = make(values, shape, dtype, self.hermitian)
                    yield Case(matrix, 1.0, _groups(values, ascending=self.hermitian))


@dataclass
class Count:
    """Of how many cases the gradient was what, and the largest error of those that are finite."""

    cases: int = 0
    nan: int = 0
    wrong: int = 0
    imprecise: int = 0
    worst: float = 0.0

    def add(self, error: float, dtype: torch.dtype) -> None:
        """Count one: wrong, by more than 1 %; imprecise, without half of the digits of its dtype."""
        self.cases += 1
        if not math.isfinite(error):
            self.nan += 1
            return
        self.wrong += error > 1e-2
        self.imprecise += 1e-2 >= error > torch.finfo(dtype).eps ** 0.5
        self.worst = max(self.worst, error)


def measure(task: Task) -> dict[str, Count]:
    """Errors of the gradient of Re <W, f(A)>, W noise, in units of its norm or W's, whichever is larger."""
    implementations = {**task.ours, **task.theirs}
    counts = {name: Count() for name in implementations}
    reference = next(iter(task.theirs.values()))
    for case in task.cases():
        double = case.matrix.to(torch.complex128 if case.matrix.is_complex() else torch.float64)
        value = reference(double, case)
        W = noise(*value.shape, dtype=value.dtype, seed=4)
        exact = oracle(reference, double, case, W, task.hermitian)
        size = max(float(exact.norm()), float(W.norm()))
        for scale in (2.0**exponent for exponent in EXPONENTS):
            for name, function in implementations.items():
                found = gradient(function, replace(case, scale=scale), W, task.hermitian)
                off = None if found is None else found / scale ** (task.degree - 1) - exact
                counts[name].add(math.inf if off is None else float(off.norm()) / size, case.matrix.dtype)
    return counts


def gradient(function: Function, case: Case, W: Tensor, hermitian: bool) -> Tensor | None:
    """By reverse mode, in double precision; None if an error is raised."""
    A = (case.matrix * case.scale).requires_grad_()
    try:
        value = function((A + A.mH) / 2 if hermitian else A, case)
        (found,) = torch.autograd.grad((value * W.conj().to(value.dtype)).sum().real, A)
    except RuntimeError:
        return None
    return found.to(W.dtype) if W.is_complex() or not found.is_complex() else found


def oracle(function: Function, A: Tensor, case: Case, W: Tensor, hermitian: bool) -> Tensor:
    """The same by differences, entry by entry, real and imaginary parts."""
    result = torch.zeros_like(A)
    for unit in (1, 1j) if A.is_complex() else (1,):
        for position in range(A.numel()):
            direction = torch.zeros_like(A)
            direction.view(-1)[position] = torch.tensor(unit, dtype=A.dtype)
            if hermitian:
                direction = (direction + direction.mH) / 2
            slope = 0.0
            for k, weight in enumerate(WEIGHTS, 1):
                ahead, behind = (function(A + sign * k * STEP * direction, case) for sign in (1, -1))
                slope += weight * float(((ahead - behind) * W.conj()).sum().real) / STEP
            result.view(-1)[position] += torch.tensor(unit * slope, dtype=A.dtype)
    return result


def make(values: tuple[float, ...], shape: tuple[int, int], dtype: torch.dtype, hermitian: bool) -> Tensor:
    """A matrix of these eigenvalues, or singular values."""
    wide = torch.complex128 if dtype.is_complex else torch.float64
    U, V = (torch.linalg.qr(noise(size, size, dtype=wide, seed=seed))[0] for seed, size in enumerate(shape))
    diagonal = torch.tensor(values, dtype=torch.float64)
    if hermitian:
        V = U
    A: Tensor = (U[:, : len(values)] * diagonal) @ V[:, : len(values)].mH
    return ((A + A.mH) / 2 if hermitian else A).to(dtype)


def noise(*shape: int, dtype: torch.dtype, seed: int) -> Tensor:
    """Of a normal distribution, the same each time."""
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=dtype)


def _groups(values: tuple[float, ...], ascending: bool) -> tuple[tuple[int, ...], ...]:
    ordered = sorted(values, reverse=not ascending)
    groups: list[list[int]] = []
    for position, value in enumerate(ordered):
        if not position or abs(value - ordered[position - 1]) > 0.1:
            groups.append([])
        groups[-1].append(position)
    return tuple(map(tuple, groups))
