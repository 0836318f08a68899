"""Whatever of the wrong type is given to a public function, the answer is an error of this project that says so."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import torch
from torch import nn

import gcp
from gcp.errors import DtypeError, GCPError, OptionTypeError
from gcp.methods import list_methods
from gcp.options import Options

ARRAY = np.eye(4, dtype=np.float32)
INTEGERS = torch.ones(4, 4, dtype=torch.int64)
COMPLEX = torch.eye(4, dtype=torch.complex64)
MAPS = np.ones((2, 8, 3, 3), dtype=np.float32)


def tensors(function: Callable[..., object], complex: bool = False) -> list[Callable[[], object]]:
    """Calls of ``function`` with what is no tensor of floating-point numbers, which may be ``complex``."""
    wrong: list[object] = [ARRAY, [[1.0]], 3.0, None, "matrix", INTEGERS, INTEGERS.bool()]
    if not complex:
        wrong.append(COMPLEX)
    return [lambda value=value: function(value) for value in wrong]


def arguments(
    function: Callable[..., object], right: dict[str, object], **wrong: list[object]
) -> list[Callable[[], object]]:
    """Calls of ``function`` with one wrong argument each."""
    return [
        lambda name=name, value=value: function(**{**right, name: value})
        for name, values in wrong.items()
        for value in values
    ]


NO_NAME: list[object] = [5, None, ["pade"], b"pade"]
NO_COUNT: list[object] = ["10", 10.0, [10], True, np.ones(2)]
NETWORK: dict[str, object] = {"backbone": "tiny", "method": "pade", "num_classes": 3}

CALLS: dict[str, list[Callable[[], object]]] = {
    "GCPError": [],
    "list_backbones": [],
    "list_methods": [],
    "Whitening": [
        *arguments(
            gcp.Whitening,
            {"num_features": 4},
            num_features=[*NO_COUNT, None],
            eps=["1e-5", None, True],
            momentum=["0.1", True],
            affine=["yes", 1, None],
            track_running_stats=[1, None],
            groups=[*NO_COUNT, None],
            method=NO_NAME,
            relative=["yes", None],
            device=[1.5, ["cpu"]],
            dtype=["float32", 5, torch.int64],
            sync=[1, None],
        ),
        *tensors(gcp.Whitening(4)),
        *tensors(gcp.Whitening(4).eval()),
    ],
    "covariance_function": [
        *tensors(gcp.covariance_function),
        *arguments(
            gcp.covariance_function,
            {"features": torch.ones(1, 4, 9)},
            f=[None, 5, ["sqrt"], (torch.sqrt,)],
            method=NO_NAME,
            eps=["1e-5", None],
            precision=[64],
        ),
    ],
    "spectral_function": [
        *tensors(gcp.spectral_function, complex=True),
        *arguments(
            gcp.spectral_function,
            {"matrix": torch.eye(4)},
            f=[None, 5, ["sqrt"], (torch.sqrt, 0.5)],
            method=NO_NAME,
            eps=["1e-5", None],
            relative=["yes"],
        ),
        lambda: gcp.spectral_function(torch.eye(4), "power", alpha="0.5"),
    ],
    "matrix_root": [
        *tensors(gcp.matrix_root),
        *arguments(gcp.matrix_root, {"matrix": torch.eye(4)}, method=NO_NAME, degree=["5", 2.5]),
    ],
    "create_backbone": arguments(
        gcp.create_backbone, {"name": "tiny"}, name=NO_NAME, width=["64", 64.0], frozen=[1.5, ["1"]]
    ),
    "create_model": [
        *arguments(
            gcp.create_model,
            NETWORK,
            backbone=NO_NAME,
            method=NO_NAME,
            num_classes=[*NO_COUNT, None],
            reduced_channels=["16", 16.0, True],
            backbone_options=["width", ["width"], 5],
            hidden=["4096", 4096, [64.0], ["64"]],
            class_token=["first", 1, True],
            precision=[64],
        ),
        *(lambda value=value: gcp.create_model(**NETWORK)(value) for value in (MAPS, torch.ones(1, 3, 16, 16).long())),
    ],
    "create_pooling": [
        *arguments(
            gcp.create_pooling,
            {"name": "pade", "in_channels": 8},
            name=NO_NAME,
            in_channels=[*NO_COUNT, None],
            reduced_channels=NO_COUNT,
            precision=[64, None],
        ),
        *(call for name in list_methods() for call in tensors(gcp.create_pooling(name, 4))),
        *(call for name in list_methods() for call in tensors(gcp.create_pooling(name, 4, 2))),
    ],
    "load_reference_checkpoint": arguments(
        lambda **given: gcp.load_reference_checkpoint(**{"model": gcp.create_model(**NETWORK), **given}),
        {"path": "weights.pth"},
        model=[None, nn.Linear(2, 2), "resnet50"],
        path=[5, None, ["a"]],
        triangle=[5, None, ["upper"]],
        classifier=[True, None, ["new"]],
    ),
    "from_pretrained": arguments(
        gcp.from_pretrained, {"source": "a/b"}, source=[None, 5, ["a"], b"a"], revision=[5, ["main"]]
    ),
    "replace_batchnorm": arguments(
        gcp.replace_batchnorm,
        {"model": nn.Sequential(nn.BatchNorm2d(4))},
        model=[None, "resnet50", nn.BatchNorm2d],
        which=[5, None, [5], nn.BatchNorm2d(4)],
        group_size=NO_COUNT,
        eps=["1e-5", None],
        method=NO_NAME,
    ),
    "replace_pooling": arguments(
        lambda **given: gcp.replace_pooling(
            **{"model": nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, 2)), **given}
        ),
        {"method": "pade"},
        model=[None, "resnet50", nn.Linear],
        method=NO_NAME,
        num_classes=NO_COUNT,
        reduced_channels=["16", 16.0, True],
        class_token=["first", 1, True],
        precision=[64],
    ),
    "register_backbone": arguments(
        gcp.register_backbone,
        {"name": "mine", "build": "mine:build"},
        name=NO_NAME,
        build=[None, 5],
        options=[None, {}],
    ),
    "register_method": arguments(
        gcp.register_method,
        {"name": "mine", "kernel": "mine:kernel"},
        name=NO_NAME,
        kernel=[5, []],
        layer=[5, None],
        options=[None, {}],
    ),
}


def test_every_public_name_is_here() -> None:
    assert set(CALLS) == set(gcp.__all__)


@pytest.mark.parametrize("name", gcp.__all__)
def test_wrong_types_are_refused_by_an_error_of_ours(name: str) -> None:
    for call in CALLS[name]:
        with pytest.raises(GCPError) as caught:
            call()
        assert isinstance(caught.value, (TypeError, ValueError, LookupError, RuntimeError))
        assert "\n" not in str(caught.value)


def test_options_of_a_kernel_are_those_of_kernels() -> None:
    """Of an approximant likewise; found when it is registered, not when a layer is built."""
    for part, base in (("kernel", "SpectralOptions"), ("approximant", "RootOptions")):
        with pytest.raises(OptionTypeError, match=rf"options must be a subclass of gcp\..*\.{base}, got .*Options"):
            gcp.register_method("mine", **{part: "mine:part"}, options=Options)
    assert "mine" not in list_methods()


def test_the_error_says_what_is_wrong() -> None:
    with pytest.raises(OptionTypeError, match="num_classes must be an integer, got '10'"):
        gcp.create_model("tiny", "pade", num_classes="10")  # type: ignore[arg-type]
    with pytest.raises(DtypeError, match=r"matrix must be a torch\.Tensor, got numpy\.ndarray"):
        gcp.spectral_function(ARRAY)  # type: ignore[arg-type]
