"""Networks as folders: the same bits come back; what is damaged, hostile or out of reach is refused in a sentence."""

from __future__ import annotations

import json
import os
import pickle
import struct
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

import gcp
from gcp.errors import CheckpointError, MissingDependencyError, OptionError
from gcp.hub.files import CARD, CONFIG, WEIGHTS, is_network_folder
from gcp.methods import METHODS, list_methods
from gcp.model import PoolingNetwork
from gcp.options import option_names
from tests.conftest import ROOT
from tests.gcp.hub_server import hub_server
from tests.slow import slow_unless

BACKBONES: dict[str, tuple[dict[str, Any], int]] = {
    "tiny": ({"width": 8}, 24),
    "resnet18": ({"last_stride": 1}, 32),
    "timm": ({"model": "test_vit"}, 32),
}
PAIRS = [(backbone, method) for backbone in BACKBONES for method in list_methods()]


def network(method: str = "pade", backbone: str = "tiny", **more: Any) -> PoolingNetwork:
    """With statistics of batch norm that are no defaults."""
    torch.manual_seed(0)
    options = {"backbone_options": BACKBONES[backbone][0], **more}
    model = gcp.create_model(backbone, method, 3, reduced_channels=6, **options)
    with torch.no_grad():
        model(images(backbone))
    return model.eval()


def images(backbone: str = "tiny") -> Tensor:
    size = BACKBONES[backbone][1]
    return torch.randn(2, 3, size, size, generator=torch.Generator().manual_seed(1))


def same(model: PoolingNetwork, again: PoolingNetwork, x: Tensor) -> bool:
    with torch.no_grad():
        return torch.equal(model(x), again(x)) and again.config == model.config and not again.training


@pytest.mark.parametrize(("backbone", "method"), slow_unless([("tiny", m) for m in list_methods()], PAIRS))
def test_the_same_logits_to_the_bit(tmp_path: Path, backbone: str, method: str) -> None:
    model = network(method, backbone)
    model.save_pretrained(tmp_path / "new" / "folder")
    torch.manual_seed(5)
    expected = torch.rand(1)
    torch.manual_seed(5)
    again = gcp.from_pretrained(tmp_path / "new" / "folder")
    assert torch.equal(torch.rand(1), expected)  # whoever loads has the random numbers he had
    assert same(model, again, images(backbone))
    again.save_pretrained(tmp_path)
    assert (tmp_path / WEIGHTS).read_bytes() == (tmp_path / "new/folder" / WEIGHTS).read_bytes()


@pytest.mark.parametrize("method", list_methods())
def test_options_come_back(tmp_path: Path, method: str) -> None:
    """One of each method's own that is not its default."""
    names = option_names(METHODS.get(method).options)
    changed = {"vectorisation": "isometric", "centred": False, "alpha": 0.3, "width": 3, "features": 7, "degree": 4}
    changed |= {"iterations": 3, "eps": 0.01, "dim": 9}
    options = {name: value for name, value in changed.items() if name in names}
    model = network(method, **options)
    model.save_pretrained(tmp_path)
    assert same(model, gcp.from_pretrained(tmp_path), images())


@pytest.mark.parametrize(
    "change",
    [
        lambda: network(hidden=(7, 5)),
        lambda: network(backbone="timm", class_token="sum"),
        lambda: network(backbone_options={"width": 8, "whitening": "first", "frozen": 1}),
        lambda: network().double(),
        lambda: network().half(),
    ],
    ids=["hidden", "class token", "whitening", "float64", "float16"],
)
def test_networks_of_every_form(tmp_path: Path, change: Callable[[], PoolingNetwork]) -> None:
    model = change()
    model.save_pretrained(tmp_path)
    again = gcp.from_pretrained(tmp_path)
    x = images("timm" if model.config.backbone == "timm" else "tiny").to(next(model.parameters()).dtype)
    assert same(model, again, x)
    assert [p.requires_grad for p in again.parameters()] == [p.requires_grad for p in model.parameters()]


def test_a_learned_exponent_and_new_classes_are_saved(tmp_path: Path) -> None:
    model = network("power", alpha=0.4)
    model.representation.pooling.log_alpha.data += 0.5
    model.reset_classifier(4)
    model.save_pretrained(tmp_path)
    assert same(model, gcp.from_pretrained(tmp_path), images())


FACTS: dict[str, Any] = {
    "preprocessing": {"image_size": 24, "mean": [0.5, 0.5, 0.5], "class_names": ["a|b", "ä", "c"]},
    "data": {"name": "digits"},
    "metrics": {"test/acc1": 0.5, "note": "of three seeds"},
}


def test_facts_are_in_the_card_and_come_back(tmp_path: Path) -> None:
    model = network(degree=7, method="taylor")
    model.save_pretrained(tmp_path, facts=FACTS)
    again = gcp.from_pretrained(tmp_path)
    assert again.facts == FACTS
    text = (tmp_path / CARD).read_text(encoding="utf-8")
    for part in ("tiny with taylor pooling", "degree=7", "| test/acc1 | 0.5 |", "a\\|b, ä, c", "2104.03821"):
        assert part in text
    again.save_pretrained(tmp_path / "again")
    for name in (CONFIG, CARD):
        assert (tmp_path / "again" / name).read_bytes() == (tmp_path / name).read_bytes()


def test_the_hub_can_read_the_card(tmp_path: Path) -> None:
    hub = pytest.importorskip("huggingface_hub")
    network().save_pretrained(tmp_path, facts=FACTS)
    data = hub.ModelCard.load(tmp_path / CARD).data
    assert (data.library_name, data.pipeline_tag) == ("gcp-lightning", "image-classification")
    (result,) = data.eval_results
    assert (result.dataset_name, result.metric_type, result.metric_value) == ("digits", "test/acc1", 0.5)


def test_what_is_not_saved(tmp_path: Path) -> None:
    model = network()
    for change, says in (
        (lambda: setattr(model, "classifier", nn.Linear(21, 9)), r"changed after it was built: the tensors in model"),
        (lambda: model.reset_classifier(0), "the network has no classifier"),
        (lambda: setattr(model, "config", None), r"only networks of gcp\.create_model"),
    ):
        change()
        with pytest.raises(OptionError, match=says):
            model.save_pretrained(tmp_path / "folder")
    for facts, says in (
        ({"licence": {}}, "facts are preprocessing, data, metrics, got 'licence'"),
        ({"data": "digits"}, "data must be a"),
        ({"metrics": {"acc": float("nan")}}, "cannot hold all of the network's options"),
    ):
        with pytest.raises(OptionError, match=says):
            network().save_pretrained(tmp_path / "other", facts)
        assert not (tmp_path / "other" / WEIGHTS).exists()
    assert not (tmp_path / "folder").exists()


def config(change: Callable[[dict[str, Any]], object]) -> Callable[[Path], object]:
    """A change of config.json."""

    def changed(folder: Path) -> None:
        contents = json.loads((folder / CONFIG).read_text())
        change(contents)
        (folder / CONFIG).write_text(json.dumps(contents))

    return changed


def weights(change: Callable[[dict[str, Tensor]], object]) -> Callable[[Path], object]:
    """A change of the tensors."""

    def changed(folder: Path) -> None:
        from safetensors.torch import load_file, save_file

        tensors = load_file(folder / WEIGHTS)
        change(tensors)
        save_file(tensors, folder / WEIGHTS)

    return changed


def header(contents: dict[str, Any], size: int | None = None, data: bytes = b"") -> Callable[[Path], object]:
    """A safetensors file with this header."""
    text = json.dumps(contents).encode()
    return lambda folder: (folder / WEIGHTS).write_bytes(struct.pack("<Q", size or len(text)) + text + data)


class Bomb:
    """Runs something when it is unpickled."""

    def __reduce__(self) -> tuple[Any, ...]:
        return open, ("was_run", "w")


BIAS = "classifier.bias"
HOSTILE: dict[str, tuple[Callable[[Path], object], str]] = {
    "no weights": (lambda folder: (folder / WEIGHTS).unlink(), "there is no file .*model.safetensors"),
    "no config": (lambda folder: (folder / CONFIG).unlink(), "there is no file .*config.json"),
    "config a folder": (lambda f: ((f / CONFIG).unlink(), (f / CONFIG).mkdir()), "there is no file"),
    "truncated": (lambda f: (f / WEIGHTS).write_bytes((f / WEIGHTS).read_bytes()[:-100]), "no readable safetensors"),
    "empty": (lambda f: (f / WEIGHTS).write_bytes(b""), "no readable safetensors"),
    "pickle": (lambda f: (f / WEIGHTS).write_bytes(pickle.dumps(Bomb())), "no readable safetensors"),
    "torch.save": (lambda f: torch.save({BIAS: torch.ones(3)}, f / WEIGHTS), "no readable safetensors"),
    "huge header": (header({}, size=2**62), "no readable safetensors file .*; it may be cut short"),
    "large header": (header({}, size=2**26), "no readable safetensors"),
    "huge tensor": (header({BIAS: {"dtype": "F32", "shape": [2**40], "data_offsets": [0, 4]}}, data=b"1234"),
                    "no readable safetensors"),
    "offsets beyond": (header({BIAS: {"dtype": "F32", "shape": [3], "data_offsets": [0, 12]}}), "no readable"),
    "unknown type": (header({BIAS: {"dtype": "OBJ", "shape": [1], "data_offsets": [0, 4]}}, data=b"1234"),
                     "no readable"),
    "wrong shape": (weights(lambda t: t.update({BIAS: torch.ones(4)})),
                    r"1 of another shape: \"classifier.bias \(4,\) for \(3,\)\"|of another shape: 'classifier.bias"),
    "missing tensor": (weights(lambda t: t.pop(BIAS)), r"1 missing: 'classifier\.bias'"),
    "extra tensor": (weights(lambda t: t.update({"\x1b[31m../../x": torch.ones(1)})), r"1 too many: '\\x1b\[31m"),
    "integers": (weights(lambda t: t.update({BIAS: torch.ones(3).int()})), "1 of another kind"),
    "no json": (lambda f: (f / CONFIG).write_text("{"), "config.json is no readable JSON"),
    "no text": (lambda f: (f / CONFIG).write_bytes(b"\xff\xfe\x00"), "is no readable JSON"),
    "nested": (lambda f: (f / CONFIG).write_text("[" * 200_000), "is no readable JSON|holds a list"),
    "a list": (lambda f: (f / CONFIG).write_text("[]"), "it holds a list"),
    "large config": (lambda f: (f / CONFIG).write_text('"' + "x" * 2**24 + '"'), "is larger than"),
    "other format": (config(lambda c: c.update(format="bert")), "does not describe a network of this project"),
    "later version": (config(lambda c: c.update(format_version=2)), "a later version"),
    "foreign key": (config(lambda c: c.update(auto_map="evil.py")), "it has 'auto_map', which means nothing here"),
    "foreign argument": (config(lambda c: c["network"].update(plugins=["evil"])), "the network has 'plugins'"),
    "no method": (config(lambda c: c["network"].pop("method")), "the network has no method"),
    "unknown method": (config(lambda c: c["network"].update(method="pad\ne")), "unknown method 'pad e'"),
    "unknown backbone": (config(lambda c: c["network"].update(backbone="/etc")), "unknown backbone '/etc'"),
    "a module": (config(lambda c: c["network"].update(backbone="os:system")), "unknown backbone 'os:system'"),
    "foreign option": (config(lambda c: c["network"].update(method_options={"num_classes": 3})), "has no option 'num"),
    "wrong type": (config(lambda c: c["network"].update(num_classes="3")), "num_classes must be an integer"),
    "true": (config(lambda c: c["network"].update(num_classes=True)), "num_classes must be an integer, got True"),
    "wrong range": (config(lambda c: c["network"].update(num_classes=0)), "num_classes must be at least 1"),
    "hidden words": (config(lambda c: c["network"].update(hidden=["a"])), "hidden must be"),
    "other classes": (config(lambda c: c["network"].update(num_classes=2**40)), "2 of another shape"),
    "huge": (config(lambda c: c["network"].update(num_classes=2**60)), "describes no network that can be built|shape"),
    "huge width": (config(lambda c: c["network"].update(hidden=[2**31, 2**31])), "missing|another shape|no network"),
    "other weights": (config(lambda c: c["network"]["backbone_options"].update(weights="/etc/passwd")),
                      "name weights, which are beside it"),
    "timm's hub": (config(lambda c: c["network"].update(backbone="timm", backbone_options={"model": "hf-hub:a/b"})),
                   "has no model 'hf-hub:a/b'"),
    "a path": (config(lambda c: c["network"].update(backbone="timm", backbone_options={"model": "../../x"})),
               "has no model '../../x'"),
    "facts": (config(lambda c: c.update(metrics=[1])), "metrics must be a"),
}  # fmt: skip


@pytest.fixture(scope="module")
def saved(tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    folder = tmp_path_factory.mktemp("saved")
    network().save_pretrained(folder)
    return {path.name: path.read_bytes() for path in folder.iterdir()}


@pytest.mark.parametrize("case", HOSTILE)
def test_what_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, saved: dict[str, bytes], case: str) -> None:
    monkeypatch.chdir(tmp_path)
    folder = tmp_path / "folder"
    folder.mkdir()
    for name, contents in saved.items():
        (folder / name).write_bytes(contents)
    change, says = HOSTILE[case]
    change(folder)
    with pytest.raises(CheckpointError, match=says) as caught:
        gcp.from_pretrained(folder)
    assert str(caught.value).isprintable()
    assert not (tmp_path / "was_run").exists()


@pytest.mark.parametrize("source", ["nowhere", "../nowhere", "a/b/c", "/nowhere/at/all", "owner/..", "a\nb/c", ""])
def test_what_is_neither_folder_nor_repository(source: str) -> None:
    with pytest.raises(CheckpointError, match=r"there is no (folder|file)") as caught:
        gcp.from_pretrained(source)
    assert str(caught.value).isprintable()


def test_what_is_out_of_reach_is_a_sentence_at_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """The network is closed to tests; the package by itself tries six times in half a minute, and says so."""
    hub = pytest.importorskip("huggingface_hub")
    monkeypatch.setattr(hub.constants, "HF_HUB_CACHE", str(tmp_path))
    for call in (
        lambda: gcp.from_pretrained("someone/something"),
        lambda: network().push_to_hub("someone/something", token="hf_none"),
    ):
        with pytest.raises(CheckpointError, match=r"someone/something.*out of reach \(") as caught:
            call()
        assert str(caught.value).isprintable()
    assert not [record for record in caplog.records if "etry" in record.getMessage()]
    with pytest.raises(OptionError, match=r"a repository is called owner/name, got '\.\./x'"):
        network().push_to_hub("../x")


SENT_AND_FETCHED = """
import sys
import gcp, torch
torch.manual_seed(0)
model = gcp.create_model("tiny", "taylor", 3, backbone_options={"width": 8}, degree=7).eval()
x = torch.randn(2, 3, 24, 24)
print(model.push_to_hub("someone/net", facts={"data": {"name": "mine"}}, token="hf_none"))
again = gcp.from_pretrained("someone/net")
assert torch.equal(again(x), model(x)) and again.facts == {"data": {"name": "mine"}}
try:
    gcp.from_pretrained("someone/other")
except gcp.GCPError as error:
    print(error)
"""


@pytest.mark.slow
def test_sent_to_a_hub_and_fetched_from_it_and_from_the_cache(tmp_path: Path) -> None:
    """By huggingface_hub itself, from a server on this machine, and again once that is gone."""
    pytest.importorskip("huggingface_hub")
    with hub_server() as (address, hub):
        environment = {**os.environ, "HF_ENDPOINT": address, "HF_HOME": str(tmp_path), "HF_HUB_DISABLE_XET": "1"}
        environment["no_proxy"] = "127.0.0.1"
        command = [sys.executable, "-W", "ignore", "-c", SENT_AND_FETCHED]
        done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
        assert set(hub.files) >= {CONFIG, WEIGHTS, CARD}
        sent, refused = done.stdout.splitlines()
        assert "/commit/" in sent
        assert refused.startswith("someone/other cannot be had from the Hub: 404")
    command[-1] = SENT_AND_FETCHED.replace("print(model.push", "# print(model.push")
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    (refused,) = done.stdout.splitlines()
    assert refused.startswith("someone/other is neither a folder nor in the local cache, and the Hub is out of reach (")


def test_without_the_extra_its_name_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    network().save_pretrained(tmp_path)
    monkeypatch.setitem(sys.modules, "huggingface_hub", None)
    calls: list[Callable[[], object]] = [lambda: gcp.from_pretrained("someone/something")]
    for package in ("safetensors", "safetensors.torch"):
        monkeypatch.setitem(sys.modules, package, None)
    calls += [lambda: gcp.from_pretrained(tmp_path), lambda: network().save_pretrained(tmp_path / "new")]
    for call in calls:
        with pytest.raises(MissingDependencyError, match=r"of the extra hub; install it with: pip install '\.\[hub\]'"):
            call()
    assert not (tmp_path / "new").exists()


def test_folders_are_told_from_others(tmp_path: Path) -> None:
    assert not is_network_folder(tmp_path)
    network().save_pretrained(tmp_path)
    assert is_network_folder(tmp_path)
    with pytest.raises(CheckpointError, match="there is no folder"):
        gcp.from_pretrained(tmp_path / CONFIG)
