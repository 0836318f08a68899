"""Pictures damaged at random: whatever happens is an error that names the file, never the end of the process."""

from __future__ import annotations

import json
import subprocess
import sys
from io import BytesIO
from itertools import product

import numpy as np
import pytest
from PIL import Image

from datamodules.decoding import ImageError, decode

BACKENDS = ("torchvision", "pil")
FORMATS = {  # by the ending of the file; each with a mode and options of Pillow's
    "jpg": [("RGB", {}), ("RGB", {"progressive": True}), ("L", {}), ("CMYK", {})],
    "png": [("RGB", {}), ("L", {}), ("RGBA", {}), ("P", {}), ("I;16", {})],
    "gif": [("P", {})],
    "bmp": [("RGB", {}), ("P", {})],
    "ppm": [("RGB", {})],
    "pgm": [("L", {})],
    "tif": [("RGB", {}), ("RGB", {"compression": "tiff_lzw"}), ("RGB", {"compression": "jpeg"}), ("I;16", {})],
    "webp": [("RGB", {}), ("RGBA", {"lossless": True})],
}
READ = """
import json, sys, warnings
from pathlib import Path
from datamodules.decoding import ImageError, decode
warnings.simplefilter("ignore")
_, *arguments = sys.argv
for backend, file in zip(arguments[::2], arguments[1::2]):
    print(file, flush=True)  # the last line says what ended the process
    try:
        print(json.dumps(list(decode(Path(file), backend).shape)))
    except ImageError as error:
        print(json.dumps([str(error), error.reason]))
"""


def encoded(mode, options, ending):
    """A picture of 24 x 20 pixels in a format."""
    noise = np.random.default_rng(0).integers(0, 256, (20, 24, 3), dtype=np.uint8)
    image = Image.fromarray(noise[..., 0].astype(np.uint16) * 256) if mode == "I;16" else Image.fromarray(noise)
    target = BytesIO()
    kind = {"jpg": "JPEG", "tif": "TIFF", "pgm": "PPM"}.get(ending, ending.upper())
    (image if image.mode == mode else image.convert(mode)).save(target, kind, **options)
    return target.getvalue()


def damaged(whole, generator):
    """The contents with one thing wrong: a bit, a byte, the end, a piece that is missing, zero or something else."""
    kind, place = generator.integers(6), int(generator.integers(len(whole)))
    stretch = int(generator.integers(1, 40))
    rest = whole[place + stretch :]
    if kind == 0:
        return whole[:place] + bytes([whole[place] ^ 1 << int(generator.integers(8))]) + whole[place + 1 :]
    if kind == 1:
        return whole[:place] + bytes([whole[place] ^ int(generator.integers(1, 256))]) + whole[place + 1 :]
    if kind == 2:
        return whole[:place]
    if kind == 3:
        return whole[:place] + rest
    if kind == 4:
        return whole[:place] + bytes(min(stretch, len(whole) - place)) + rest
    return whole[:place] + generator.bytes(stretch) + rest


def read_all(pairs):
    """What `decode` says of each decoder and file, from a process of its own: a shape, or message and reason."""
    command = [sys.executable, "-c", READ, *(str(each) for pair in pairs for each in pair)]
    outcome = subprocess.run(command, capture_output=True, text=True)
    lines = outcome.stdout.splitlines()
    assert outcome.returncode == 0, f"{lines[-1:]} ended the process: {outcome.returncode} {outcome.stderr[-500:]}"
    assert lines[::2] == [str(file) for _, file in pairs]
    return [json.loads(line) for line in lines[1::2]]


def check(folder, number, endings, backends):
    generator = np.random.default_rng(1)
    files = []
    for ending in endings:
        wholes = [encoded(mode, options, ending) for mode, options in FORMATS[ending]]
        for whole in wholes:
            (folder / f"whole.{ending}").write_bytes(whole)
            assert {decode(folder / f"whole.{ending}", each).shape for each in backends} == {(3, 20, 24)}
        for place in range(number):
            whole = wholes[place % len(wholes)]
            files.append(folder / f"{place}.{ending}")
            files[-1].write_bytes(damaged(whole, generator))
    pairs = [(backend, file) for backend in backends for file in files]
    seen = dict.fromkeys(product(endings, backends), 0)
    for (backend, file), result in zip(pairs, read_all(pairs), strict=True):
        if isinstance(result[0], str):
            seen[file.suffix[1:], backend] += 1
            assert str(file) in result[0]
            assert "\n" not in result[0]
            assert result[1]
        else:
            assert result[0] == 3
    return seen


def test_damaged_pictures_of_every_format(tmp_path):
    check(tmp_path, 25, FORMATS, BACKENDS)


@pytest.mark.slow
def test_a_png_cut_to_a_few_bytes_or_with_one_bit_changed(tmp_path):
    whole = encoded("RGB", {}, "png")
    files = []
    for length in range(40):
        files.append(tmp_path / f"cut{length}.png")
        files[-1].write_bytes(whole[:length])
    for place in np.random.default_rng(2).integers(8, len(whole) - 12, 100):
        files.append(tmp_path / f"bit{place}.png")
        files[-1].write_bytes(whole[:place] + bytes([whole[place] ^ 16]) + whole[place + 1 :])
    for file, result in zip(
        files, read_all([("torchvision", file) for file in files]), strict=True
    ):  # check sums tell all of them
        assert str(file) in result[0], file


def test_one_limit_of_pixels_for_every_format_and_decoder(tmp_path, monkeypatch):
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 24 * 20)
    for ending, kinds in FORMATS.items():
        for number, (mode, options) in enumerate(kinds):
            file = tmp_path / f"{number}.{ending}"
            file.write_bytes(encoded(mode, options, ending))
            for backend in BACKENDS:
                assert decode(file, backend).shape == (3, 20, 24)
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 24 * 20 - 1)
    monkeypatch.setattr("datamodules.decoding.decode_jpeg", None)  # nothing is decoded
    monkeypatch.setattr("datamodules.decoding.pil_to_tensor", None)
    for file in tmp_path.iterdir():
        with pytest.raises(ImageError, match="24 x 20 pixels, more than the 479 that are decoded; make it smaller"):
            decode(file)


def test_a_small_file_of_a_huge_picture(tmp_path):
    Image.new("1", (20_000, 20_000)).save(tmp_path / "bomb.png")
    assert (tmp_path / "bomb.png").stat().st_size < 1 << 20
    with pytest.raises(ImageError, match=r"bomb\.png"):
        decode(tmp_path / "bomb.png")


@pytest.mark.parametrize("mode", ["I", "F"])
def test_values_of_an_unknown_range_are_refused(tmp_path, mode):
    Image.fromarray(np.full((4, 4), 70000, dtype=np.int32 if mode == "I" else np.float32)).save(tmp_path / "deep.tif")
    with pytest.raises(ImageError, match=r"deep\.tif holds .*; store it with 8 or 16 bits"):
        decode(tmp_path / "deep.tif")


def test_a_format_that_would_run_a_program_is_no_image(tmp_path):
    Image.new("RGB", (8, 8)).save(tmp_path / "page.jpg", "EPS")
    with pytest.raises(ImageError, match="not an image"):
        decode(tmp_path / "page.jpg")


@pytest.mark.slow
@pytest.mark.parametrize("ending", FORMATS)
def test_five_hundred_damaged_pictures(tmp_path, ending):
    seen = check(tmp_path, 500, [ending], BACKENDS)
    assert min(seen.values()) > 50  # what cannot be noticed is a change of pixels alone, in formats without check sums
