"""A sequence of layers that gives a feature map, and whose first layers can be frozen."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterable, Iterator
from itertools import islice
from typing import TypeVar

import torch
from torch import Tensor, nn

from gcp.errors import OptionError, UnknownNameError
from gcp.registry import nearest

SelfT = TypeVar("SelfT", bound="Freezable")


class Freezable(nn.Module):
    """A module whose first stages may stay as they are while the rest is trained.

    Attributes:
        frozen: how many, or the name of the last one.
    """

    frozen: int | str = 0

    def stages(self) -> Iterable[nn.Module]:
        """What is counted, from the images on: the children."""
        return (stage for _, stage in self.named_stages())

    def named_stages(self) -> Iterator[tuple[str, nn.Module]]:
        """The same with their names, by which they can be frozen too."""
        return self.named_children()

    def levels(self) -> list[tuple[str, list[nn.Module]]]:
        """Depths that can have learning rates of their own, from the images on, each with the name of its first stage.

        A stage without a matrix, such as a norm, belongs to the level before it.
        """
        found: list[tuple[str, list[nn.Module]]] = []
        for name, stage in self._depths():
            if not found or any(parameter.dim() > 1 for parameter in stage.parameters()):
                found.append((name, []))
            found[-1][1].append(stage)
        return found

    def freeze(self, upto: int | str) -> None:
        """Stop training the first stages, their batch-norm statistics included.

        Args:
            upto: how many; or the name of the last one, which may lie inside a stage: "blocks.3".

        Raises:
            OptionError: there are fewer.
            UnknownNameError: none of that name.
        """
        self._frozen = self._first(upto) if isinstance(upto, int) else self._named(upto)
        self.frozen = upto
        for stage in self._frozen:
            stage.requires_grad_(False)
        self.train(self.training)

    @property
    def frozen_stages(self) -> tuple[nn.Module, ...]:
        """What `freeze` froze, in order."""
        return tuple(getattr(self, "_frozen", ()))

    def train(self: SelfT, mode: bool = True) -> SelfT:
        """As ``nn.Module.train``; what is frozen stays in eval mode."""
        super().train(mode)
        for stage in self.frozen_stages:
            stage.eval()
        return self

    @torch.no_grad()
    def frozen_features(self, images: Tensor) -> Tensor:
        """What the frozen stages give for ``images``: the input of the others, see `skip_frozen`.

        Raises OptionError if nothing is frozen, or the stages are no chain of maps (B, C, H, W).
        """
        if not self.frozen_stages:
            raise OptionError("no stage of the backbone is frozen; set backbone.frozen")
        hook = self._frozen[-1].register_forward_hook(_stop)
        try:
            self(images)
        except _ReachedError as reached:
            if isinstance(reached.output, Tensor) and reached.output.dim() == 4:
                return reached.output
        finally:
            hook.remove()
        raise OptionError(
            f"what backbone.frozen={self.frozen} freezes gives no feature map (B, C, H, W); freeze other stages"
        )

    def skip_frozen(self, skip: bool = True) -> None:
        """Take what `frozen_features` gives in the place of images, until told otherwise."""
        for stage in self._frozen:
            if skip:
                stage.forward = _as_it_is
            else:
                stage.__dict__.pop("forward", None)

    def _depths(self) -> Iterable[tuple[str, nn.Module]]:
        return self.named_stages()

    def _first(self, count: int) -> list[nn.Module]:
        total = sum(1 for _ in self.stages())
        if count > total:
            raise OptionError(f"frozen must be at most {total}, the number of the backbone's children, got {count}")
        return list(islice(self.stages(), count))

    def _named(self, path: str) -> list[nn.Module]:
        found = _up_to(self.named_stages(), path)
        if found is None:
            known = [name for name, _ in self._depths()]
            raise UnknownNameError(
                f"frozen: no stage '{path}'{nearest(path, known)}; the backbone has {', '.join(known)}"
            )
        return found


def _up_to(stages: Iterable[tuple[str, nn.Module]], path: str) -> list[nn.Module] | None:
    """The stages before the one at the dotted ``path``, and of that one what comes up to its end; None: no such one."""
    before: list[nn.Module] = []
    for name, stage in stages:
        if path == name:
            return [*before, stage]
        if path.startswith(f"{name}."):
            inside = _up_to(stage.named_children(), path.removeprefix(f"{name}."))
            return None if inside is None else [*before, *inside]
        before.append(stage)
    return None


class _ReachedError(Exception):
    """The end of the frozen stages: what is beyond need not be computed."""

    def __init__(self, output: object) -> None:
        super().__init__()
        self.output = output


def _stop(module: nn.Module, inputs: object, output: object) -> None:
    raise _ReachedError(output)


def _as_it_is(features: Tensor) -> Tensor:
    return features


class FeatureMap(Freezable, nn.Sequential):
    """Layers in sequence, (B, 3, H, W) to (B, num_features, H', W').

    Attributes:
        num_features: channels of the feature map.
        original_names: the names the layers had in the network they were taken from, one per layer; empty if they
            were not, or kept them. Checkpoints of that network are read by them.
    """

    def __init__(
        self,
        layers: list[nn.Module] | OrderedDict[str, nn.Module],
        num_features: int,
        original_names: tuple[str, ...] = (),
    ) -> None:
        super().__init__(*layers) if isinstance(layers, list) else super().__init__(layers)
        self.num_features = num_features
        self.original_names = original_names

    def named_stages(self) -> Iterator[tuple[str, nn.Module]]:
        """The layers, by their original names where they have them."""
        names = self.original_names or tuple(self._modules)
        return zip(names, self.children(), strict=True)
