"""Weights as safetensors: a file that holds numbers and nothing that could be run."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from types import ModuleType

from torch import Tensor, nn

from gcp.errors import CheckpointError, MissingDependencyError, few, first_line


def safetensors() -> ModuleType:
    """The package. Raises MissingDependencyError if it is not installed."""
    try:
        import safetensors.torch
    except ImportError as error:
        raise MissingDependencyError(
            "folders of networks need safetensors, of the extra hub; install it with: pip install '.[hub]'"
        ) from error
    return safetensors


def write_tensors(model: nn.Module, path: Path) -> None:
    """The state dict of ``model``. Raises MissingDependencyError."""
    state = {name: tensor.detach().cpu().clone().contiguous() for name, tensor in model.state_dict().items()}
    safetensors().torch.save_file(state, path, metadata={"format": "pt"})


def read_tensors(path: Path) -> dict[str, Tensor]:
    """The tensors of a file, on the CPU.

    Raises:
        CheckpointError: missing, cut short, or no safetensors file, whatever it is called.
        MissingDependencyError: see `safetensors`.
    """
    package = safetensors()
    if not path.is_file():
        raise CheckpointError(f"there is no file {path}")
    try:
        tensors: dict[str, Tensor] = package.torch.load_file(path)
    except (package.SafetensorError, OSError, ValueError, KeyError, RuntimeError) as error:
        raise CheckpointError(
            f"{path} is no readable safetensors file ({first_line(error)}); it may be cut short, or something else "
            "under that name"
        ) from None
    return tensors


def check_tensors(tensors: Mapping[str, Tensor], network: nn.Module, path: Path, of: str) -> None:
    """Raise CheckpointError unless ``tensors`` have the names, shapes and kinds of numbers of the network's state.

    Args:
        tensors: of the file.
        network: may be on the meta device.
        path: the file, for the message.
        of: where the network comes from, likewise.
    """
    own: dict[str, Tensor] = network.state_dict()
    shared = [name for name in own if name in tensors]
    differences = {
        "missing": [name for name in own if name not in tensors],
        "too many": [name for name in tensors if name not in own],
        "of another shape": [
            f"{name} {tuple(tensors[name].shape)} for {tuple(own[name].shape)}"
            for name in shared
            if tensors[name].shape != own[name].shape
        ],
        "of another kind": [
            f"{name} {tensors[name].dtype} for {own[name].dtype}"
            for name in shared
            if tensors[name].is_floating_point() != own[name].is_floating_point()
            or (tensors[name].dtype != own[name].dtype and not own[name].is_floating_point())
        ],
    }
    found = [f"{len(names)} {what}: {few(list(map(ascii, names)), 2)}" for what, names in differences.items() if names]
    if found:
        raise CheckpointError(f"the tensors in {path} are not those of the network of {of} ({'; '.join(found)})")


def load_tensors(network: nn.Module, tensors: Mapping[str, Tensor]) -> None:
    """Load checked tensors, and take over their precision."""
    floating = {tensor.dtype for tensor in tensors.values() if tensor.is_floating_point()}
    if len(floating) == 1:
        network.to(floating.pop())  # what no state dict holds, too
    for name, tensor in network.state_dict(keep_vars=True).items():
        if tensor.dtype != tensors[name].dtype:
            tensor.data = tensor.data.to(tensors[name].dtype)
    network.load_state_dict(dict(tensors))
