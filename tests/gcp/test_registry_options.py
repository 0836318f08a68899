"""Registry, options, and that both are there without torch."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import FrozenInstanceError, dataclass, fields, is_dataclass
from pathlib import Path

import pytest

import gcp
from gcp.errors import OptionError, UnknownNameError
from gcp.methods import METHODS, SpectralOptions, list_methods
from gcp.options import Options, make_options, option, option_names
from gcp.registry import Registry, nearest, resolve

ROOT = Path(__file__).parents[2]


@pytest.fixture
def fruit() -> Registry[int]:
    registry: Registry[int] = Registry("fruit")
    registry.register("pear", 1)
    registry.register("apple", 2)
    return registry


def test_registry(fruit: Registry[int]) -> None:
    assert fruit.names() == ["pear", "apple"]
    assert fruit.get("apple") == 2
    assert "pear" in fruit
    assert "plum" not in fruit
    assert fruit.register("plum", 3) == 3
    assert fruit.names() == ["pear", "apple", "plum"]


def test_names_are_a_copy(fruit: Registry[int]) -> None:
    fruit.names().clear()
    assert fruit.names() == ["pear", "apple"]


def test_registry_refuses_a_taken_name(fruit: Registry[int]) -> None:
    with pytest.raises(OptionError, match="the fruit 'pear' is registered already"):
        fruit.register("pear", 5)
    fruit.register("pear", 1)
    assert fruit.get("pear") == 1


@pytest.mark.parametrize(("name", "hint"), [("peer", " (did you mean 'pear'?)"), ("xyz", "")])
def test_registry_names_the_nearest(fruit: Registry[int], name: str, hint: str) -> None:
    with pytest.raises(UnknownNameError) as caught:
        fruit.get(name)
    assert str(caught.value) == f"unknown fruit '{name}'{hint}; available: pear, apple"
    assert isinstance(caught.value, LookupError)
    assert caught.value.__suppress_context__


def test_nearest() -> None:
    assert nearest("degre", ["precision", "degree"]) == " (did you mean 'degree'?)"
    assert nearest("degre", []) == ""


def test_resolve() -> None:
    assert resolve("gcp.registry:nearest") is nearest
    assert resolve(nearest) is nearest
    assert resolve(None) is None


@dataclass(frozen=True)
class Example(Options):
    """One option of each kind."""

    count: int = option(3, "how many", minimum=1, maximum=10)
    factor: float = option(0.5, "how much", above=0)
    flag: bool = option(False, "whether")
    kind: str = option("a", "which", choices=("a", "b"))
    limit: int | None = option(None, "at most", minimum=2)
    steps: list[int] = option([10, 20], "when", minimum=1)


def test_defaults_and_help() -> None:
    example = Example()
    assert (example.count, example.factor, example.flag, example.kind) == (3, 0.5, False, "a")
    assert example.limit is None
    assert example.steps == [10, 20]
    assert example.steps is not Example().steps
    assert fields(Example)[0].metadata["help"] == "how many"
    assert option_names(Example) == ["count", "factor", "flag", "kind", "limit", "steps"]


@pytest.mark.parametrize(
    "values",
    [{"count": 1}, {"count": 10}, {"factor": 1}, {"flag": True}, {"kind": "b"}, {"limit": 2}, {"steps": []}],
)
def test_accepted(values: dict[str, object]) -> None:
    example = make_options(Example, values, "the example")
    for name, value in values.items():
        assert getattr(example, name) == value


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"count": 0}, "count must be at least 1, got 0"),
        ({"count": 11}, "count must be at most 10, got 11"),
        ({"count": 2.0}, "count must be an integer, got 2.0"),
        ({"count": "2"}, "count must be an integer, got '2'"),
        ({"count": True}, "count must be an integer, got True"),
        ({"count": None}, "count must be an integer, got None"),
        ({"factor": 0}, "factor must be greater than 0, got 0"),
        ({"factor": float("nan")}, "factor must be greater than 0, got nan"),
        ({"factor": False}, "factor must be a number, got False"),
        ({"flag": 1}, "flag must be true or false, got 1"),
        ({"kind": "c"}, "kind must be one of a, b, got 'c'"),
        ({"kind": 1}, "kind must be a word, got 1"),
        ({"limit": 1}, "limit must be at least 2, got 1"),
        ({"limit": "few"}, "limit must be an integer or None, got 'few'"),
        ({"steps": [10, 0]}, "steps must be at least 1, got 0"),
        ({"kount": 2}, "the example has no option 'kount' (did you mean 'count'?); it takes: count, "),
        ({"zzz": 2}, "the example has no option 'zzz'; it takes: count, "),
    ],
)
def test_refused(values: dict[str, object], message: str) -> None:
    with pytest.raises(OptionError) as caught:
        make_options(Example, values, "the example")
    assert str(caught.value).startswith(message)
    assert isinstance(caught.value, ValueError)


@pytest.mark.parametrize("value", [10, "ten", [1.5], [True], ["ten"]])
def test_lists_refuse_what_is_none(value: object) -> None:
    with pytest.raises(OptionError, match="steps must be"):
        Example(steps=value)  # type: ignore[arg-type]


def test_options_are_frozen() -> None:
    with pytest.raises(FrozenInstanceError):
        Example().count = 4  # type: ignore[misc]


@pytest.mark.parametrize("name", list_methods())
def test_each_method_is_described(name: str) -> None:
    info = METHODS.get(name)
    assert info.name == name
    assert info.summary
    assert info.source
    assert is_dataclass(info.options)
    assert make_options(info.options, {}, name) == info.options()
    for field in fields(info.options):
        assert field.metadata["help"]
    assert callable(resolve(info.layer))
    if info.kernel is not None:
        assert issubclass(info.options, SpectralOptions)
        assert callable(resolve(info.kernel))


def test_names_and_published_defaults() -> None:
    published = {
        "pade": {},
        "taylor": {"degree": 100},
        "pi": {"iterations": 19},
        "newton": {"iterations": 10},
        "halley": {"iterations": 4},
        "lorentz": {"width": 1e-6},
        "trunc": {"limit": 1e10},
        "topn": {"n": None, "fraction": None},
        "original": {},
    }
    assert set(published) | {"lyapunov", "average"} <= set(list_methods())
    shared = option_names(SpectralOptions)
    for name, expected in published.items():
        options = METHODS.get(name).options()
        own = {option: getattr(options, option) for option in option_names(type(options)) if option not in shared}
        assert own == expected
        assert options.precision == "mixed"
    assert METHODS.get("topn").options().kept(256) == 206


def test_public_names() -> None:
    assert gcp.list_methods() == list_methods()
    for name in gcp.__all__:
        assert getattr(gcp, name) is not None
        assert name in dir(gcp)
    with pytest.raises(AttributeError, match="no attribute 'creat_pooling'"):
        _ = gcp.creat_pooling


@pytest.mark.parametrize("module", ["gcp", "gcp.methods", "gcp.backbones.registry", "gcp.options", "gcp.errors"])
def test_names_and_options_need_no_torch(module: str) -> None:
    """What ``--help`` reads is there without the seconds torch takes."""
    code = f"import sys, {module}, gcp; gcp.list_methods(); print(sorted(sys.modules.keys() & {{'torch', 'numpy'}}))"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
