"""The interface of every noise type, and the record of where its noise is added.

A noise fills tensors with numbers of unit scale; a rule multiplies them by its scale. The types are
in `drawn.py` (random), `directed.py` (along a vector, toward a target) and `composed.py` (made of
another noise).

Shape letters: R replicas.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from antifragile.optim.noise.norms import spread
from antifragile.optim.noise.streams import Stream

Sizes = Sequence[float | Tensor]
"""One number, or (R,) numbers, per tensor."""


@dataclass(frozen=True, kw_only=True)
class Site:
    """The place where a noise is added: the parameters of one rule at one step.

    Args:
        parameters: The clean weights, read only.
        indices: Position of each parameter in the optimizer.
        stream: Seeds, step and rule number.
        memory: Tensors that the noise named in `Noise.remembers`, one per parameter; None where
            there are none, or none yet.
        sizes_before: Sizes of the step before, for `Anti`.
        reset: Function of i and a mask: zeroes the optimizer's moments of parameter i where the
            mask is true.
    """

    parameters: Sequence[Tensor]
    indices: Sequence[int]
    stream: Stream
    memory: Sequence[Tensor] | None = None
    sizes_before: Sizes | None = None
    reset: Callable[[int, Tensor], None] | None = None

    def only(self, place: int) -> Site:
        """Describe the place of one parameter alone, for a noise that is separable."""
        one = slice(place, place + 1)
        return Site(parameters=self.parameters[one], indices=self.indices[one], stream=self.stream)

    @property
    def is_batched(self) -> bool:
        """Whether parameters have a leading replica dimension."""
        return self.stream.batched


class Noise(ABC):
    """A noise of unit scale.

    Class attributes say what a noise needs:
        remembers: Name of the tensors that must be kept for it between steps: ``"gradient"``,
            ``"momentum"``, ``"squares"`` or ``"start"`` (the table in `attach/history.py`), or
            None. They arrive as `Site.memory`.
        only: The one place where the noise makes sense, or None for any.
        needs_closure: Whether it needs a second gradient inside the step.
    """

    remembers: ClassVar[str | None] = None
    only: ClassVar[str | None] = None
    needs_closure: ClassVar[bool] = False

    @abstractmethod
    def unit(self, site: Site) -> list[Tensor]:
        """Make fresh tensors of unit noise, shaped as the parameters."""

    def add(self, site: Site, targets: Sequence[Tensor], sizes: Sizes) -> Tensor | None:
        """Add ``size * noise`` to each target in place.

        Args:
            site: Parameters, stream and memory.
            targets: Tensors shaped as the parameters.
            sizes: A number, or (R,) numbers, per target.

        Returns:
            None; see `OutOfPlaceNoise`.
        """
        noise = self.unit(site)
        for part, size in zip(noise, sizes, strict=True):
            part.mul_(spread(size, part))
        torch._foreach_add_(list(targets), noise)
        return None

    def norm(self, n_elements: int) -> float:
        """Approximate Euclidean norm of the unit noise over that many elements."""
        return math.sqrt(n_elements)


class OutOfPlaceNoise(Noise):
    """A noise that can make perturbed copies of other tensors, some in the pass that adds it.

    Attributes:
        is_separable: Whether the noise of one parameter does not depend on the others.
    """

    is_separable: bool = False

    def add(
        self,
        site: Site,
        targets: Sequence[Tensor],
        sizes: Sizes,
        *,
        sources: Sequence[Tensor] | None = None,
    ) -> Tensor | None:
        """Add ``size * noise`` to each target in place, or to a copy of its source.

        Args:
            site: Parameters, stream and memory.
            targets: Tensors shaped as the parameters.
            sizes: A number, or (R,) numbers, per target.
            sources: Tensors whose perturbed copies the targets become; None for the targets.

        Returns:
            Checksums of the perturbed copies, (K,) int64, where they were computed on the way.
        """
        if sources is not None:
            torch._foreach_copy_(list(targets), list(sources))
        if not self.is_separable or not targets[0].is_cpu:  # a GPU does better with all at once
            return super().add(site, targets, sizes)
        for place, target in enumerate(targets):
            super().add(site.only(place), [target], [sizes[place]])
        return None
