"""Fashion-MNIST: what its files hold is compared with what was published, however they are packed."""

from __future__ import annotations

import gzip
import hashlib

import numpy as np
import pytest
import torch

from datamodules.datasets import create_datamodule
from datamodules.sets import fashion_mnist
from gcp.errors import DataError
from tests.datamodules import fabricate


@pytest.fixture
def files(tmp_path, monkeypatch):
    """The folder of a copy whose contents are what was published."""
    fabricate.fashion_mnist(tmp_path)
    fabricate.stand_in(monkeypatch)
    folder = tmp_path / fashion_mnist.FOLDER
    sums = {file: hashlib.md5(gzip.decompress((folder / f"{file}.gz").read_bytes())) for file in fashion_mnist.FILES}
    digests = {file: digest.hexdigest() for file, digest in sums.items()}
    monkeypatch.setattr(fashion_mnist.FashionMNISTDataModule, "sums", digests)
    return folder


def made(root, **options):
    module = create_datamodule("fashion_mnist", root=str(root), **options)
    module.setup()
    return module


def test_another_packing_of_the_same_contents(files, tmp_path):
    seen = [made(tmp_path).splits.train.source[3][0]]
    for file in fashion_mnist.PACKED:
        (files / file).write_bytes(gzip.compress(gzip.decompress((files / file).read_bytes()), 1, mtime=7))
    seen.append(made(files).splits.train.source[3][0])
    for file in fashion_mnist.FILES:
        (files / file).write_bytes(gzip.decompress((files / f"{file}.gz").read_bytes()))
        (files / f"{file}.gz").unlink()
    seen.append(made(tmp_path).splits.train.source[3][0])
    assert seen[0].shape == (3, 28, 28)
    assert all(torch.equal(image, seen[0]) for image in seen)
    pixels = np.frombuffer((files / fashion_mnist.FILES[0]).read_bytes(), np.uint8)[16:].reshape(-1, 28, 28)
    assert torch.equal(seen[0][2], torch.from_numpy(pixels[3].copy()))


def test_other_contents_are_refused(files, tmp_path):
    file = files / fashion_mnist.PACKED[1]
    contents = bytearray(gzip.decompress(file.read_bytes()))
    contents[-1] ^= 1
    file.write_bytes(gzip.compress(contents))
    for check in (True, False):
        with pytest.raises(DataError, match=r"train-labels.*\.gz is damaged or another file: the MD5 sum of what it"):
            made(tmp_path, check=check)


def test_debians_package_is_found_by_itself(files, monkeypatch, tmp_path):
    monkeypatch.delenv("GCP_DATA", raising=False)
    monkeypatch.setattr(fashion_mnist, "DEBIAN", files)
    module = create_datamodule("fashion_mnist")
    module.setup()
    assert len(module.splits.train) == 40
    monkeypatch.setattr(fashion_mnist, "DEBIAN", tmp_path / "nowhere")
    with pytest.raises(DataError, match="install Debian's package dataset-fashion-mnist, set data"):
        create_datamodule("fashion_mnist").setup()
