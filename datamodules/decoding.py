"""From an image file to a tensor: the one way files are read, in training, test and prediction alike."""

from __future__ import annotations

from io import BytesIO
from pathlib import Path

import torch
from PIL import Image, TiffImagePlugin, UnidentifiedImageError, WebPImagePlugin
from torch import Tensor
from torchvision.transforms.functional import pil_to_tensor

from datamodules.reading import noted
from gcp.errors import DataError, first_line

try:
    from torchvision.io import ImageReadMode, decode_jpeg
except ImportError:  # announced for a release after torchvision 0.29: Pillow then reads everything
    decode_jpeg = None

ENDINGS = (".bmp", ".gif", ".jpeg", ".jpg", ".pgm", ".png", ".ppm", ".tif", ".tiff", ".webp")  # of files of images
JPEG = ("JPEG", "MPO")  # MPO: several pictures, the first of which is meant
TIFF, WEBP = TiffImagePlugin.TiffImageFile.format, WebPImagePlugin.WebPImageFile.format  # known once imported
FORMATS = ("BMP", "DIB", "GIF", "JPEG", "PNG", "PPM", TIFF, WEBP)  # for some others Pillow would run a program
DEEP = ("I", "I;16", "I;16B", "I;16L", "I;16N")  # Pillow's modes of 16 bits


class ImageError(DataError):
    """An image file that gives no image.

    Attributes:
        reason: why, in a few words without the file's name.
    """

    def __init__(self, message: str, reason: str = "") -> None:
        super().__init__(message)
        self.reason = reason


def decode(path: Path, backend: str = "torchvision") -> Tensor:
    """The image in ``path`` as RGB, uint8 (3, H, W); grey, palette, CMYK, transparent and 16-bit images are converted.

    The orientation a camera noted is left alone, as the published results did. Nothing is decoded before the header has
    shown that the image has at most ``PIL.Image.MAX_IMAGE_PIXELS`` pixels.

    Args:
        path: the file.
        backend: "torchvision" (grey and colour JPEG straight into a tensor, everything else by Pillow) or "pil".

    Raises:
        ImageError: no such file, not an image, a damaged one or one that is too large; names the file.
    """
    with noted(path):
        try:
            contents = path.read_bytes()
        except OSError as error:
            reason = f"cannot be read ({error.strerror})"
            raise ImageError(f"the image {path} {reason}; restore it from the archive", reason) from None
        return _decoded_or_refused(contents, str(path), backend, "restore it from the archive")


def decode_contents(contents: bytes, name: str, backend: str, remedy: str) -> Tensor:
    """As `decode`, of the contents of a file: one that lies in an archive, or comes over a network.

    Args:
        contents: what the file holds.
        name: what a person knows it by.
        backend: as of `decode`.
        remedy: what to do about a damaged one, for the message.

    Raises:
        ImageError: not an image, a damaged one or one that is too large; names it.
    """
    with noted(name):
        return _decoded_or_refused(contents, name, backend, remedy)


def _decoded_or_refused(contents: bytes, name: str, backend: str, remedy: str) -> Tensor:
    try:
        return _decoded(contents, backend)
    except UnidentifiedImageError:
        raise ImageError(f"{name} is not an image; {remedy}", "not an image") from None
    except _UnsuitableError as error:
        raise ImageError(f"the image {name} {error}", str(error)) from None
    except Exception as error:  # damaged files lead the readers of formats to errors of every kind
        reason = f"damaged ({first_line(error)})"
        raise ImageError(f"the image {name} is {reason}; {remedy}", reason) from None


class _UnsuitableError(Exception):
    """An image that is whole but of no use here."""


def _decoded(contents: bytes, backend: str) -> Tensor:
    with Image.open(BytesIO(contents), formats=FORMATS) as image:  # the header alone
        limit = Image.MAX_IMAGE_PIXELS
        if limit is not None and image.width * image.height > limit:
            size = f"{image.width} x {image.height}"
            raise _UnsuitableError(f"has {size} pixels, more than the {limit:,} that are decoded; make it smaller")
        if image.format in JPEG and image.mode in ("L", "RGB") and backend == "torchvision" and decode_jpeg is not None:
            try:
                jpeg: Tensor = decode_jpeg(
                    torch.frombuffer(bytearray(contents), dtype=torch.uint8), mode=ImageReadMode.RGB
                )
                return jpeg
            except RuntimeError:
                pass  # Pillow decides whether it is damaged, and says how
        if image.format == "PNG":
            Image.open(BytesIO(contents)).verify()  # its check sums, which Pillow passes over when it reads the pixels
        pixels: Tensor = pil_to_tensor(_eight_bits(image).convert("RGB"))
        return pixels


def _eight_bits(image: Image.Image) -> Image.Image:
    if image.mode == "F":
        raise _UnsuitableError("holds fractions of a range that nothing says; store it with 8 or 16 bits")
    if image.mode not in DEEP:
        return image
    if image.mode == "I":
        low, high = image.getextrema()  # numbers: the image has one band
        assert isinstance(low, (int, float))
        assert isinstance(high, (int, float))
        if low < 0 or high >= 1 << 16:
            raise _UnsuitableError(f"holds values from {low} to {high}; store it with 8 or 16 bits")
    return image.point(lambda value: value / 256).convert("L")
