"""Features of frozen stages kept on disk for later runs, found again by the content of the images."""

from __future__ import annotations

import hashlib
import sys
import zipfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from datamodules.archives import one_process_at_a_time
from gcp.backbones.feature_map import Freezable
from lightning_modules.run.storage import whole

Compute = Callable[[Tensor], Tensor]
DAMAGED = (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile)
LIBRARIES = ("torch", "torchvision", "timm")  # what builds networks: another version may compute otherwise


class KeptFeatures:
    """Features of one frozen network, by the digests of the images they are of.

    Args:
        rows: what is known already.
    """

    def __init__(self, rows: dict[bytes, Tensor]) -> None:
        self.rows = rows
        self.new = 0

    def of(self, images: Tensor, compute: Compute) -> Tensor:
        """Features of ``images`` (B, C, H, W) on the CPU: those known, and what ``compute`` gives for the others."""
        digests = [hashlib.blake2b(image.numpy(), digest_size=16).digest() for image in images.cpu().contiguous()]
        missing = [position for position, digest in enumerate(digests) if digest not in self.rows]
        if missing:
            found = compute(images[missing])
            self.rows.update({digests[position]: row.clone() for position, row in zip(missing, found, strict=True)})
            self.new += len(missing)
        return torch.stack([self.rows[digest] for digest in digests])


@contextmanager
def kept_features(folder: Path, backbone: Freezable, shape: Sequence[int]) -> Iterator[KeptFeatures]:
    """The features in ``folder`` of images of ``shape`` under the frozen stages of ``backbone``; written at the end.

    One process at a time computes what is missing; others wait for it. The file's name and content say which network
    it is of: its architecture, weights, device type and the versions of the libraries. A file that is damaged, or of
    another network, is replaced, with a sentence.
    """
    key = network_key(backbone, shape)
    with one_process_at_a_time(folder):
        file = folder / f"{key}.npz"
        kept = KeptFeatures(_read(file, key))
        yield kept
        if kept.new:
            _write(file, key, kept.rows)


def network_key(backbone: Freezable, shape: Sequence[int]) -> str:
    """A digest of all that the features of an image depend on, beside the image."""
    digest = hashlib.sha256()
    for stage in backbone.frozen_stages:
        digest.update(repr(stage).encode())
        for name, tensor in stage.state_dict().items():
            digest.update(f"{name} {tuple(tensor.shape)} {tensor.dtype} {tensor.device.type}".encode())
            digest.update(tensor.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy())
    digest.update(f"{tuple(shape)} {[_version(name) for name in LIBRARIES]}".encode())
    return digest.hexdigest()[:32]


def _version(name: str) -> str | None:
    try:
        return version(name)
    except PackageNotFoundError:
        return None


def _read(file: Path, key: str) -> dict[bytes, Tensor]:
    if not file.exists():
        return {}
    try:
        with np.load(file, allow_pickle=False) as arrays:  # checks the CRC of each array
            if str(arrays["key"]) != key:
                raise ValueError("they are of another network")
            digests, features = arrays["digests"], torch.from_numpy(arrays["features"])
        if features.dtype != torch.float32 or digests.shape != (len(features), 16):
            raise ValueError("arrays of another shape or type")
    except DAMAGED as error:
        reason = str(error).split("\n")[0] or type(error).__name__
        print(f"the features kept in {file} cannot be used ({reason}); they are computed again", file=sys.stderr)
        return {}
    return dict(zip(map(bytes, digests), features, strict=True))


def _write(file: Path, key: str, rows: dict[bytes, Tensor]) -> None:
    digests = np.frombuffer(b"".join(rows), dtype=np.uint8).reshape(-1, 16)
    with whole(file) as partial, partial.open("wb") as stream:
        np.savez(stream, key=np.array(key), digests=digests, features=torch.stack(list(rows.values())).numpy())
