"""Gram and dense path: the same numbers, and how often and what is decomposed and saved."""

from __future__ import annotations

from unittest.mock import patch

import pytest
import torch
from torch import Tensor

from gcp.errors import OptionError
from gcp.pooling.factory import create_pooling
from gcp.spectral import lapack
from tests.gcp.helpers import SPECTRAL, forward_backward, grad_out, noise, relative_error


def low_rank(*shape: int, rank: int) -> Tensor:
    """Features of less rank than channels and positions would allow."""
    batch, channels, height, width = shape
    return (noise(batch, channels, rank, seed=5) @ noise(batch, rank, height * width, seed=6)).reshape(shape)


INPUTS = {
    "N<C": noise(2, 12, 2, 3),
    "N=C": noise(2, 9, 3, 3),
    "N>C": noise(2, 5, 3, 4),
    "low rank, N<C": low_rank(2, 12, 2, 4, rank=4),
    "low rank, N>C": low_rank(2, 7, 4, 4, rank=3),
}


@pytest.mark.parametrize("case", INPUTS)
@pytest.mark.parametrize("name", SPECTRAL)
def test_same_numbers(name: str, case: str) -> None:
    """1e-11: float64, spectra over two or three decades, gaps of 1e-2."""
    x = INPUTS[case]
    gradient = grad_out(x.shape[1], len(x))
    results = {
        path: forward_backward(create_pooling(name, x.shape[1], precision="float64", path=path), x, gradient)
        for path in ("gram", "dense", "auto")
    }
    for found, expected in zip(results["gram"], results["dense"], strict=True):
        assert relative_error(found, expected) < 1e-11
    chosen = "gram" if x.shape[2] * x.shape[3] < x.shape[1] else "dense"
    for found, expected in zip(results["auto"], results[chosen], strict=True):
        assert torch.equal(found, expected)


def test_unknown_path() -> None:
    with pytest.raises(OptionError, match="path must be one of auto, gram, dense"):
        create_pooling("pade", 4, path="grma")


class Counter:
    """Calls of torch.linalg.eigh and svd, as the shapes of single matrices."""

    def __init__(self) -> None:
        self.matrices: list[tuple[int, ...]] = []

    def __enter__(self) -> Counter:
        self.patches = [patch.object(torch.linalg, kind, self._counting(kind)) for kind in ("eigh", "svd")]
        for each in self.patches:
            each.start()
        return self

    def __exit__(self, *_: object) -> None:
        for each in self.patches:
            each.stop()

    def _counting(self, kind: str):  # type: ignore[no-untyped-def]
        original = getattr(torch.linalg, kind)

        def counting(matrix: Tensor, *args: object, **kwargs: object) -> object:
            self.matrices += [tuple(matrix.shape[-2:])] * matrix.shape[:-2].numel()
            return original(matrix, *args, **kwargs)

        return counting


@pytest.mark.parametrize(
    ("precision", "path", "shape", "decomposed"),
    [
        ("mixed", "auto", (3, 12, 2, 3), (6, 6)),
        ("mixed", "auto", (3, 5, 3, 3), (5, 5)),
        ("mixed", "dense", (3, 12, 2, 3), (12, 12)),
        ("mixed", "gram", (3, 5, 3, 3), (9, 9)),
        ("float64", "auto", (3, 12, 2, 3), (6, 6)),
        ("float32", "auto", (3, 12, 2, 3), (12, 6)),
    ],
)
@pytest.mark.parametrize("threads", [1, 2])
@pytest.mark.parametrize("name", SPECTRAL)
def test_each_matrix_is_decomposed_once(
    monkeypatch: pytest.MonkeyPatch,
    name: str,
    threads: int,
    precision: str,
    path: str,
    shape: tuple[int, ...],
    decomposed: tuple[int, int],
) -> None:
    monkeypatch.setattr(lapack, "WORTHWHILE", 1)  # dealt out matrix by matrix
    x = noise(*shape).requires_grad_()
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        with Counter() as counter:
            y = create_pooling(name, shape[1], precision=precision, path=path)(x)
        assert counter.matrices == [decomposed] * shape[0]
        with Counter() as counter:
            y.sum().backward()
        assert counter.matrices == []
    finally:
        torch.set_num_threads(before)


@pytest.mark.parametrize("name", SPECTRAL)
@pytest.mark.parametrize("shape", [(2, 64, 2, 3), (2, 6, 5, 5)])
def test_only_factors_are_saved(name: str, shape: tuple[int, ...]) -> None:
    """(C x n) + (N x n) + n numbers a sample, vech's index aside."""
    batch, channels, positions = shape[0], shape[1], shape[2] * shape[3]
    n = min(channels, positions)
    saved: list[Tensor] = []
    x = noise(*shape).float().requires_grad_()

    def pack(tensor: Tensor) -> Tensor:
        saved.append(tensor)
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
        create_pooling(name, channels)(x)
    floats = sum(tensor.numel() for tensor in saved if tensor.is_floating_point())
    assert floats == batch * (channels * n + positions * n + n)
