"""What: the noises a rule can add, each a way to fill tensors of unit size.

Here are those drawn at random, by address (`streams.py`), so that they can be drawn again instead
of being stored. `directed.py` has those that go somewhere, `modified.py` those made of another.

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

from antifragile.optim.noise.kernel import is_native, run_native
from antifragile.optim.noise.norms import initial_deviation, joint_norm, spread
from antifragile.optim.noise.streams import Stream, draw, normal_levels, uniform, uniform_levels

Sizes = Sequence[float | Tensor]


@dataclass(frozen=True, kw_only=True)
class Site:
    """Where a noise lands: the parameters of one rule at one step.

    Args:
        parameters: The clean weights, to be read.
        indices: Position of each parameter in the optimizer.
        stream: Seeds, step and rule.
        directions: Gradients or momenta, for noises that follow them.
        starts: The weights when the rule was attached, for `Toward`.
        squares: The optimizer's running squares of the gradient, for `Preconditioned`.
        sizes_before: Of the step before, for `Anti`.
        reset: Zeroes the optimizer's moments of parameter i where a mask is true.
    """

    parameters: Sequence[Tensor]
    indices: Sequence[int]
    stream: Stream
    directions: Sequence[Tensor] | None = None
    starts: Sequence[Tensor] | None = None
    squares: Sequence[Tensor] | None = None
    sizes_before: Sizes | None = None
    reset: Callable[[int, Tensor], None] | None = None

    @property
    def is_batched(self) -> bool:
        """Whether parameters have a leading replica dimension."""
        return self.stream.batched


class Noise(ABC):
    """A unit noise.

    ``follows`` names the vector it needs ("gradient", "momentum", or none), ``keeps`` what the
    handle must keep for it ("starts", "squares", or none); ``needs_closure`` asks for a second
    gradient inside the step; ``only`` is the one place where it makes sense.
    """

    follows: ClassVar[str | None] = None
    keeps: ClassVar[str | None] = None
    only: ClassVar[str | None] = None
    needs_closure: ClassVar[bool] = False

    @abstractmethod
    def unit(self, site: Site) -> list[Tensor]:
        """Fresh tensors of unit noise, shaped as the parameters."""

    def add(
        self,
        site: Site,
        targets: Sequence[Tensor],
        sizes: Sizes,
        *,
        backups: Sequence[Tensor] | None = None,
    ) -> None:
        """Add ``size * noise`` to each target in place.

        Args:
            site: Where it lands.
            targets: What is added to.
            sizes: A number, or (R,) numbers, per target.
            backups: Receive the targets' old values.
        """
        if backups is not None:
            torch._foreach_copy_(list(backups), list(targets))
        noise = self.unit(site)
        for part, size in zip(noise, sizes, strict=True):
            part.mul_(spread(size, part))
        torch._foreach_add_(list(targets), noise)

    def norm(self, n_elements: int) -> float:
        """Of the unit noise, about."""
        return math.sqrt(n_elements)


class Drawn(Noise):
    """Independent elements of mean 0 and variance 1."""

    @abstractmethod
    def table(self) -> Tensor | None:
        """(32768,) magnitudes; None for signs."""

    def unit(self, site: Site) -> list[Tensor]:
        if is_native(site.parameters):
            noise = [torch.empty_like(p) for p in site.parameters]
            sizes = [1.0] * len(noise)
            run_native(site.stream, self.table(), site.indices, noise, sizes, adds=False)
            return noise
        return draw(site.stream, self.table(), site.indices, site.parameters)

    def add(
        self,
        site: Site,
        targets: Sequence[Tensor],
        sizes: Sizes,
        *,
        backups: Sequence[Tensor] | None = None,
    ) -> None:
        if is_native(targets):
            table = self.table()
            run_native(site.stream, table, site.indices, targets, sizes, backups=backups)
        else:
            super().add(site, targets, sizes, backups=backups)


@dataclass(frozen=True)
class Gaussian(Drawn):
    """Normal elements, in 65,536 equally likely levels (see `streams.normal_levels`)."""

    def table(self) -> Tensor:
        return normal_levels()


@dataclass(frozen=True)
class Rademacher(Drawn):
    """Signs: +1 or -1 with equal chance; the cheapest noise of variance 1."""

    def table(self) -> None:
        return None


@dataclass(frozen=True)
class Uniform(Drawn):
    """Uniform elements of variance 1."""

    def table(self) -> Tensor:
        return uniform_levels()


@dataclass(frozen=True)
class InitLike(Drawn):
    """What PyTorch initialises a linear or convolution layer with: uniform in +-1/sqrt(fan-in).

    Vectors (biases, norm parameters) get none.
    """

    def table(self) -> Tensor:
        return uniform_levels()

    def unit(self, site: Site) -> list[Tensor]:
        noise = super().unit(site)
        for part in noise:
            part.mul_(initial_deviation(part, is_batched=site.is_batched))
        return noise

    def add(
        self,
        site: Site,
        targets: Sequence[Tensor],
        sizes: Sizes,
        *,
        backups: Sequence[Tensor] | None = None,
    ) -> None:
        deviations = [initial_deviation(t, is_batched=site.is_batched) for t in targets]
        scaled = [size * d for size, d in zip(sizes, deviations, strict=True)]
        super().add(site, targets, scaled, backups=backups)


@dataclass(frozen=True)
class Sphere(Noise):
    """Uniform on the unit sphere over all parameters of the rule together.

    Args:
        inside: Uniform in the ball instead.
    """

    inside: bool = False

    def unit(self, site: Site) -> list[Tensor]:
        noise = Gaussian().unit(site)
        length = 1.0 / joint_norm(noise, is_batched=site.is_batched)  # (R,) or ()
        if self.inside:
            n_elements = sum(part.numel() for part in noise) // len(site.stream.keys)
            radii = [u ** (1.0 / n_elements) for u in uniform(site.stream)]
            length = length * length.new_tensor(radii if site.is_batched else radii[0])
        return [part.mul_(spread(length, part)) for part in noise]

    def norm(self, n_elements: int) -> float:
        return 1.0
