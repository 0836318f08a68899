"""Features kept on disk: those of the same network and image are found again, all others computed."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from gcp.backbones.feature_map import FeatureMap
from lightning_modules.callbacks.kept_features import kept_features

SHAPE = (3, 4, 4)


def network(seed=0, stride=1):
    torch.manual_seed(seed)
    made = FeatureMap([nn.Conv2d(3, 2, 3, stride), nn.BatchNorm2d(2), nn.Conv2d(2, 2, 1)], 2)
    made.freeze(2)
    return made.eval()


@pytest.fixture
def images():
    return torch.randn(5, *SHAPE, generator=torch.Generator().manual_seed(0))


def features(folder, backbone, images):
    """The features, and how many images they were computed of."""
    seen = []

    def compute(part):
        seen.append(len(part))
        return backbone.frozen_features(part)

    with kept_features(folder, backbone, SHAPE) as kept:
        found = kept.of(images, compute)
    return found, sum(seen)


def file_in(folder):
    (file,) = folder.glob("*.npz")
    return file


def test_what_is_known_is_not_computed_again(tmp_path, images):
    backbone = network()
    first, computed = features(tmp_path, backbone, images[:3])
    assert computed == 3
    assert torch.equal(first, backbone.frozen_features(images[:3]))
    reordered, computed = features(tmp_path, network(), images[[4, 2, 0]])
    assert computed == 1  # image 4
    assert torch.equal(reordered[1:], first[[2, 0]])
    assert features(tmp_path, backbone, images[:3])[1] == 0
    assert not list(tmp_path.glob("*.partial"))


def changed(backbone, change):
    with torch.no_grad():
        change(backbone)
    return backbone


OTHERS = {
    "weights": lambda: network(seed=1),
    "one weight": lambda: changed(network(), lambda net: net[0].weight[0, 0, 0, 0].add_(1e-6)),
    "statistics": lambda: changed(network(), lambda net: net[1].running_mean.add_(1e-6)),
    "architecture": lambda: network(stride=2),
    "number of stages": lambda: changed(network(), lambda net: net.freeze(1)),
}


@pytest.mark.parametrize("other", OTHERS)
def test_another_network_has_features_of_its_own(tmp_path, images, other):
    features(tmp_path, network(), images)
    backbone = OTHERS[other]()
    found, computed = features(tmp_path, backbone, images)
    assert computed == len(images)
    assert torch.equal(found, backbone.frozen_features(images))
    assert len(list(tmp_path.glob("*.npz"))) == 2


def test_weights_of_other_stages_do_not_count(tmp_path, images):
    features(tmp_path, network(), images)
    other = changed(network(), lambda net: net[2].weight.add_(1))
    assert features(tmp_path, other, images)[1] == 0


def flipped(file):
    content = bytearray(file.read_bytes())
    content[content.index(b"features.npy") + 200] ^= 1  # in the numbers
    file.write_bytes(content)


DAMAGES = {
    "cut short": lambda file: file.write_bytes(file.read_bytes()[:-100]),
    "one bit": flipped,
    "empty": lambda file: file.write_bytes(b""),
    "another file": lambda file: file.write_text("features"),
}


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_damaged_file_is_computed_again(tmp_path, images, capsys, damage):
    first, _ = features(tmp_path, network(), images)
    DAMAGES[damage](file_in(tmp_path))
    found, computed = features(tmp_path, network(), images)
    assert computed == len(images)
    assert torch.equal(found, first)
    assert "cannot be used (" in capsys.readouterr().err
    assert features(tmp_path, network(), images)[1] == 0  # mended


def test_a_file_of_another_network_is_replaced(tmp_path, images, capsys):
    features(tmp_path, network(seed=1), images)
    wrong = file_in(tmp_path)
    features(tmp_path, network(), images)
    right = next(file for file in tmp_path.glob("*.npz") if file != wrong)
    wrong.replace(right)
    found, computed = features(tmp_path, network(), images)
    assert computed == len(images)
    assert torch.equal(found, network().frozen_features(images))
    assert "(they are of another network); they are computed again" in capsys.readouterr().err


def test_nothing_is_written_if_it_fails(tmp_path, images):
    with pytest.raises(ZeroDivisionError), kept_features(tmp_path, network(), SHAPE) as kept:
        kept.of(images, lambda part: network().frozen_features(part) / (1 // 0))
    assert not list(tmp_path.glob("*.npz"))
