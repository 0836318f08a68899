"""Which columns of a dataset hold the images and the labels, by the types of its features."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from datamodules.huggingface.library import library
from gcp.errors import DataError, few
from gcp.registry import nearest

BYTES = ("binary", "large_binary")
TEXT = ("string", "large_string", "string_view")
NUMBERS = tuple(f"{sign}int{bits}" for sign in ("", "u") for bits in (8, 16, 32, 64))
IMAGES = "images: the type Image, or the bytes of image files"
LABELS = "labels: ClassLabel, text, whole numbers, or true and false"
Features = Mapping[str, Any]


def image_column(features: Features, wanted: str | None, place: str) -> str:
    """The column of images: ``wanted``, or the only one. Raises DataError if there is none, or no telling which."""
    kinds: tuple[Callable[[Any], bool], ...] = (is_image, _is_bytes)
    found = _column(features, "image", wanted, kinds, IMAGES, place)
    mode = getattr(features[found], "mode", None)
    if mode not in (None, "RGB"):
        raise DataError(
            f"the column {found} of {place} is to be decoded as {mode}, and images are always RGB here; cast it to "
            "Image()"
        )
    return found


def label_column(features: Features, wanted: str | None, place: str) -> str:
    """The column of labels, likewise: a ClassLabel where there is one, else text or whole numbers."""
    return _column(features, "label", wanted, (is_classes, _is_label), LABELS, place)


def is_image(feature: Any) -> bool:
    """Whether it is the library's own type of images."""
    return isinstance(feature, library().Image)


def is_classes(feature: Any) -> bool:
    """Whether it is the library's own type of labels, which knows the names of the classes."""
    return isinstance(feature, library().ClassLabel)


def dtype_of(feature: Any) -> str:
    """What a simple feature holds, as Arrow calls it; "" of any other."""
    return feature.dtype if isinstance(feature, library().Value) else ""


def said(feature: Any) -> str:
    """A feature in a word or two, for messages."""
    return dtype_of(feature) or ("a struct" if isinstance(feature, dict) else type(feature).__name__)


def _is_bytes(feature: Any) -> bool:
    return dtype_of(feature) in BYTES or (isinstance(feature, dict) and dtype_of(feature.get("bytes")) in BYTES)


def _is_label(feature: Any) -> bool:
    return dtype_of(feature) in (*TEXT, *NUMBERS, "bool")


def _column(
    features: Features, what: str, wanted: str | None, kinds: tuple[Callable[[Any], bool], ...], taken: str, place: str
) -> str:
    listed = few([f"{name} ({said(feature)})" for name, feature in features.items()], 8)
    if wanted is not None:
        if wanted not in features:
            raise DataError(
                f"data.{what}_column={wanted} is no column of {place}{nearest(wanted, features)}; it has {listed}"
            )
        if not any(fits(features[wanted]) for fits in kinds):
            raise DataError(f"data.{what}_column={wanted} holds {said(features[wanted])}, which is none of {taken}")
        return wanted
    for fits in kinds:
        found = [name for name, feature in features.items() if fits(feature)]
        if len(found) == 1:
            return found[0]
        if found:
            raise DataError(
                f"{place} has {len(found)} columns that may be its {what}s: {few(found, 8)}; choose one with "
                f"data.{what}_column"
            )
    raise DataError(f"{place} has no column of {taken}; it has {listed}")
