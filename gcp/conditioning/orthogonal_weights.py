"""Orthogonal weights."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn.utils import parametrizations
from torch.nn.utils.parametrize import is_parametrized, register_parametrization

WEIGHT = "weight"
ORIGINAL = f"parametrizations.{WEIGHT}.original"  # the parameter that is trained in the place of the weight


def make_orthogonal(convolution: nn.Conv2d) -> None:
    """Keep a convolution's weight, as a matrix (outputs, rest), orthogonal: orthonormal rows, or columns if it is tall.

    By torch's parametrisation as a product of Householder reflections (arXiv 2207.02119), which starts
    from the weight's own QR decomposition. What an optimizer does to the parameters behind it, weight decay and
    averaging included, leaves the weight orthogonal.

    >>> convolution = nn.Conv2d(4, 2, 1)
    >>> make_orthogonal(convolution)
    >>> W = convolution.weight.flatten(1)
    >>> torch.allclose(W @ W.T, torch.eye(2), atol=1e-6)
    True
    """
    weight = convolution.weight.detach().clone()
    register_parametrization(convolution, WEIGHT, _Reflectors(weight), unsafe=True)
    parametrizations.orthogonal(convolution, WEIGHT, "householder", use_trivialization=False)
    register_parametrization(convolution, WEIGHT, _AsConvolution(weight), unsafe=True)
    convolution.weight = weight  # goes through the parametrisations backwards


def bake_orthogonal(model: nn.Module) -> None:
    """Put a plain convolution, with the weight itself, in the place of each child of ``model`` that is parametrised.

    >>> network = nn.Sequential(nn.Conv2d(4, 2, 1))
    >>> make_orthogonal(network[0])
    >>> bake_orthogonal(network)
    >>> [name for name, _ in network.named_parameters()]
    ['0.weight', '0.bias']
    """
    for path, module in list(model.named_modules(remove_duplicate=False)):
        if isinstance(module, nn.Conv2d) and is_parametrized(module, WEIGHT) and path:
            parent, _, child = path.rpartition(".")
            setattr(model.get_submodule(parent), child, _plain(module))


def _plain(convolution: nn.Conv2d) -> nn.Conv2d:
    # Not by torch's remove_parametrizations, which takes the weight from all copies of the module as well.
    shape = ("in_channels", "out_channels", "kernel_size", "stride", "padding", "dilation", "groups", "padding_mode")
    plain = nn.Conv2d(**{name: getattr(convolution, name) for name in shape}, bias=convolution.bias is not None)
    weight = convolution.weight
    plain.to(weight.device, weight.dtype).train(convolution.training)
    with torch.no_grad():
        plain.weight.copy_(weight)
        if plain.bias is not None and convolution.bias is not None:
            plain.bias.copy_(convolution.bias)
    return plain


def trained_weight(convolution: nn.Conv2d) -> str:
    """The name in ``convolution`` of the parameter that is trained: the weight, or what is behind it.

    >>> trained_weight(nn.Conv2d(4, 2, 1))
    'weight'
    """
    return ORIGINAL if is_parametrized(convolution, WEIGHT) else WEIGHT


class _Reflectors(nn.Module):
    """A weight (outputs, ...) as the matrix of reflectors torch wants: below its diagonal the parameters, on it signs.

    torch cuts the diagonal to integers: a weight decay of 1e-9 makes a 1 a 0, and the weight with it. Here it is apart.
    """

    signs: Tensor

    def __init__(self, weight: Tensor) -> None:
        super().__init__()
        self.shape = weight.shape
        self.register_buffer("signs", torch.ones_like(weight.flatten(1).diagonal()))

    def forward(self, weight: Tensor) -> Tensor:
        """(outputs, ...) to (outputs, rest)."""
        return weight.flatten(1).diagonal_scatter(self.signs)

    def right_inverse(self, matrix: Tensor) -> Tensor:
        """(outputs, rest) to (outputs, ...)."""
        self.signs.copy_(matrix.flatten(1).diagonal())
        return matrix.reshape(self.shape)


class _AsConvolution(nn.Module):
    """A matrix (outputs, rest) in the shape of the weight."""

    def __init__(self, weight: Tensor) -> None:
        super().__init__()
        self.shape = weight.shape

    def forward(self, matrix: Tensor) -> Tensor:
        """(outputs, rest) to (outputs, ...)."""
        return matrix.view(self.shape)

    def right_inverse(self, weight: Tensor) -> Tensor:
        """(outputs, ...) to (outputs, rest)."""
        return weight.flatten(1)
