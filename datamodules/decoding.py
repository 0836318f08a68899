"""From an image file to a tensor."""

from __future__ import annotations

from pathlib import Path

import torch
from PIL import Image, UnidentifiedImageError
from torch import Tensor
from torchvision.transforms.functional import pil_to_tensor

from gcp.errors import DataError

try:
    from torchvision.io import ImageReadMode, decode_jpeg, decode_png
except ImportError:  # announced for a release after torchvision 0.29: PIL then reads everything
    decode_jpeg = decode_png = None

JPEG, PNG = b"\xff\xd8\xff", b"\x89PNG\r\n\x1a\n"


def decode(path: Path, backend: str = "torchvision") -> Tensor:
    """The image in ``path`` as RGB, uint8 (3, H, W); grey, palette, CMYK, transparent and 16-bit images are converted.

    The orientation a camera noted is left alone, as the published results did.

    Args:
        path: the file.
        backend: "torchvision" (JPEG and PNG straight into a tensor, other formats and CMYK by PIL) or "pil".

    Raises:
        DataError: no such file, not an image, or a damaged one; names the file.
    """
    try:
        contents = path.read_bytes()
    except OSError as error:
        raise DataError(f"the image {path} cannot be read ({error.strerror}); restore it from the archive") from None
    if backend == "torchvision" and decode_jpeg is not None and _plain(contents):
        encoded = torch.frombuffer(bytearray(contents), dtype=torch.uint8)
        reader = decode_jpeg if contents.startswith(JPEG) else decode_png
        try:
            return reader(encoded, mode=ImageReadMode.RGB)
        except RuntimeError:
            pass  # PIL decides whether it is damaged, and says how
    return _by_pil(path)


def _by_pil(path: Path) -> Tensor:
    try:
        with Image.open(path) as image:
            if image.mode.startswith("I;16") or image.mode == "I":
                image = image.point(lambda value: value / 256).convert("L")
            return pil_to_tensor(image.convert("RGB"))
    except UnidentifiedImageError:
        raise DataError(f"{path} is not an image; restore it from the archive") from None
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError) as error:
        reason = str(error).split("\n")[0]
        raise DataError(f"the image {path} is damaged ({reason}); restore it from the archive") from None


def _plain(contents: bytes) -> bool:
    """JPEG of one or three components, or PNG of 8 bits, whose RGB is the same however it is decoded."""
    if contents.startswith(PNG):
        return contents[24] == 8 and contents[25] in (0, 2)  # bit depth; grey or RGB, without palette and transparency
    return contents.startswith(JPEG) and _jpeg_components(contents) in (1, 3)


def _jpeg_components(contents: bytes) -> int | None:
    """Number of components in the frame header; none where there is no such header."""
    position = 2
    while position + 9 < len(contents) and contents[position] == 0xFF:
        marker = contents[position + 1]
        if marker == 0xFF:  # padding
            position += 1
            continue
        if 0xC0 <= marker <= 0xCF and marker not in (0xC4, 0xC8, 0xCC):
            return contents[position + 9]
        position += 2 + int.from_bytes(contents[position + 2 : position + 4], "big")
    return None
