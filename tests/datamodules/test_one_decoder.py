"""Same file, same tensor, in training, validation, test and prediction; a loading process that dies names its file."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from datamodules.datasets import create_datamodule
from datamodules.pictures import Pictures
from datamodules.preprocessing import Preprocessing
from datamodules.reading import dead_processes_named
from datamodules.transforms.names import TRANSFORMS
from tests.datamodules import fabricate

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture
def pictures(tmp_path):
    """A folder for training and testing with a picture of each awkward kind in both."""
    noise = np.random.default_rng(0).integers(0, 256, (48, 64, 3), dtype=np.uint8)
    image = Image.fromarray(noise)
    turned = Image.Exif()
    turned[0x0112] = 6  # the orientation: a quarter turn
    for part in ("train", "test"):
        folder = tmp_path / part / "odd"
        folder.mkdir(parents=True)
        image.save(folder / "turned.jpg", exif=turned)
        Image.fromarray(noise[..., 0].astype(np.uint16) * 257).save(folder / "deep.png")
        image.convert("CMYK").save(folder / "cmyk.jpg")
        image.convert("RGBA").save(folder / "alpha.png")
        image.convert("P").save(folder / "palette.gif")
        fabricate.picture(tmp_path / part / "plain/plain.jpg", 0)
    return tmp_path


@pytest.mark.parametrize("backend", ["torchvision", "pil"])
@pytest.mark.parametrize("transform", TRANSFORMS.names())
def test_a_file_is_the_same_tensor_in_every_mode(pictures, transform, backend):
    options = {"transform": transform, "decode_backend": backend, "image_size": 40, "check": False}  # the same twice
    data = create_datamodule("folder", root=str(pictures), **options)
    data.setup()
    stored = Preprocessing(**data.preprocessing.plain())  # as from a checkpoint
    for part in (data.splits.val, data.splits.test):
        records = part.source.records
        predicted = Pictures([record.path for record in records], stored, backend)
        assert len(records) == 6
        for position in range(len(records)):
            assert torch.equal(predicted[position].images[0], part[position][0]), records[position].path
    train, test = data.splits.train.source, data.splits.test.source
    for position in range(6):  # what training crops at random and mirrors is the same image
        assert torch.equal(train[position][0], test[position][0])
    deep = next(test[position][0] for position in range(6) if test.records[position].path.name == "deep.png")
    assert len(deep.unique()) > 200  # not clipped to white


DEADLY = """
import os, signal
from pathlib import Path
from torch.utils.data import Dataset
from datamodules.loader import ImageLoader, process_options
from datamodules.reading import dead_processes_named, noted

class Deadly(Dataset):
    def __len__(self):
        return 8

    def __getitem__(self, position):
        with noted(Path(f"picture{position}.png")):
            if position == 5:
                os.kill(os.getpid(), signal.SIGSEGV)
        return position

with dead_processes_named():
    list(ImageLoader(Deadly(), 1, **process_options(2)))
"""


@pytest.mark.slow
def test_a_loading_process_that_dies_names_what_it_was_reading():
    # In a process of its own: torch raises the error wherever that process is, and again until the loader is gone.
    ended = subprocess.run([sys.executable, "-c", DEADLY], capture_output=True, text=True, cwd=ROOT, check=False)
    assert ended.returncode != 0
    assert re.search(r"DataError: a loading process ended .* while it was reading picture5\.png; replace", ended.stderr)


def test_other_errors_stay_what_they_are():
    for text in ("DataLoader worker (pid 1) is killed by signal: Terminated. ", "something else"):
        with pytest.raises(RuntimeError, match=text[:10]) as caught, dead_processes_named():
            raise RuntimeError(text)
        assert type(caught.value) is RuntimeError
