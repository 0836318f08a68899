"""The library stands on torch alone."""

import subprocess
import sys
from pathlib import Path

from gcp.methods import list_methods

ROOT = Path(__file__).parents[2]

# Everything but the standard library, gcp, torch and what torch requires looks as if it were not installed.
BLOCKED = """
import sys
from importlib.machinery import PathFinder

TORCH = {
    "torch", "torchgen", "functorch", "triton", "nvidia", "cuda", "filelock", "fsspec", "jinja2", "markupsafe",
    "mpmath", "networkx", "setuptools", "sympy", "typing_extensions",
}
refused = set()

class OnlyTorch:
    # Of what it does not find importlib says, as of anything missing, that there is no such module.

    def find_spec(self, name, path=None, target=None):
        top = name.partition(".")[0]
        if top in TORCH | {"gcp"} | sys.stdlib_module_names or top.startswith("_sysconfigdata"):
            return PathFinder.find_spec(name, path, target)
        refused.add(top)
        return None

for module in [name for name in sys.modules if name.partition(".")[0] in {"numpy", "scipy"}]:
    del sys.modules[module]
sys.meta_path[:] = [finder for finder in sys.meta_path if finder.__module__ == "_frozen_importlib"] + [OnlyTorch()]
"""

LAYERS = """
import gcp
import torch

for blocked in ("hydra", "omegaconf", "pytorch_lightning", "lightning", "wandb", "torchvision", "sklearn", "numpy"):
    try:
        __import__(blocked)
    except ModuleNotFoundError:
        pass
    else:
        raise SystemExit(f"{blocked} was not blocked")

for name in gcp.list_methods():
    x = torch.randn(2, 8, 5, 5, requires_grad=True)
    layer = gcp.create_pooling(name, in_channels=8, reduced_channels=6)
    y = layer(x)
    y.square().sum().backward()
    assert y.shape == (2, layer.out_features)
    assert x.grad.isfinite().all() and x.grad.abs().max() > 0
    print(name)
foreign = {name.partition(".")[0] for name in sys.modules} & (refused - {"__main__"})
assert not foreign, foreign
"""


def test_every_pooling_runs_with_torch_alone() -> None:
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", BLOCKED + LAYERS], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.split() == list_methods()
