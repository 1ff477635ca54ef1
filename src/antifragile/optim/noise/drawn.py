"""Random noise types; each fills tensors with unit-scale noise drawn by address.

The numbers depend only on seed, rule, parameter and step (`streams.py`), so they can be drawn again
instead of being stored. The compiled kernel is used where it can be, torch elsewhere: same bits.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from antifragile.optim.noise.base import BackingUpNoise, Noise, Site, Sizes
from antifragile.optim.noise.kernel import is_native, run_native
from antifragile.optim.noise.norms import initial_deviation, joint_norm, spread
from antifragile.optim.noise.streams import draw, normal_levels, uniform, uniform_levels


class Drawn(BackingUpNoise):
    """Independent elements of mean 0 and variance 1.

    ``add`` can save the targets' old values to ``backups`` in the pass that adds the noise.
    """

    @abstractmethod
    def table(self) -> Tensor | None:
        """Magnitudes to choose from, (32768,) float32; None for signs alone."""

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
            return
        super().add(site, targets, sizes, backups=backups)


@dataclass(frozen=True)
class Gaussian(Drawn):
    """Standard normal elements, in 65,536 equally likely levels (`streams.normal_levels`)."""

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
    """PyTorch's initialisation of linear and convolution layers: uniform in +-1/sqrt(fan-in).

    Vectors (biases, parameters of norm layers) get no noise.
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
        inside: True draws from the whole unit ball instead.
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
