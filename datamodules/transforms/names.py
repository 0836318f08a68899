"""The transforms of the published recipes by name, and the protocols of evaluation. Free of torch."""

from __future__ import annotations

from dataclasses import dataclass

from gcp.registry import Registry

PROTOCOLS = ("center", "flip", "ten_crop", "multi_scale")


@dataclass(frozen=True)
class TransformInfo:
    """Sizes in pixels at the transform's own image size; with another one they change in proportion.

    Attributes:
        image_size: height and width of what the network sees.
        resize: first step: length of the short side, or (height, width); None: no resizing.
        train: what training crops: "random_resized" (scale and aspect ratio at random), "padded" (4 pixels of
            padding, a random crop) or "center".
        summary: one line for listings.
        flip: whether training mirrors half of the images.
    """

    image_size: int
    resize: int | tuple[int, int] | None
    train: str
    summary: str
    flip: bool = True

    @property
    def random(self) -> bool:
        """Whether a training image is another one in each epoch."""
        return self.flip or self.train != "center"

    def resized(self, image_size: int) -> int | tuple[int, int] | None:
        """``resize`` for another image size."""
        if isinstance(self.resize, int):
            return round(self.resize * image_size / self.image_size)
        if self.resize is None:
            return None if image_size == self.image_size else image_size
        height, width = (round(side * image_size / self.image_size) for side in self.resize)
        return height, width


TRANSFORMS: Registry[TransformInfo] = Registry("transform")

TRANSFORMS.register(
    "imagenet224",
    TransformInfo(224, 256, "random_resized", "train: random resized crop; test: short side to 256, centre 224"),
)
TRANSFORMS.register("cub448", TransformInfo(448, 448, "center", "short side to 448, centre 448"))
TRANSFORMS.register("fgvc448", TransformInfo(448, (512, 512), "center", "512 x 512, centre 448"))
TRANSFORMS.register("cars448", TransformInfo(448, (448, 448), "center", "448 x 448"))
TRANSFORMS.register("small32", TransformInfo(32, None, "padded", "train: pad by 4, random crop; test: as it is"))
TRANSFORMS.register("small28", TransformInfo(28, None, "padded", "the same for images of 28 x 28"))
TRANSFORMS.register("square224", TransformInfo(224, (224, 224), "center", "224 x 224"))
TRANSFORMS.register(
    "plain224", TransformInfo(224, (224, 224), "center", "224 x 224, and nothing at random in training", flip=False)
)
