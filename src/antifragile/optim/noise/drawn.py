"""Random noise types; each fills tensors with unit-scale noise drawn by address.

The numbers depend only on seed, rule, parameter and step (`streams.py`), so they can be drawn again
instead of being stored. A compiled kernel is used where it can be, torch elsewhere: same bits.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from antifragile.optim.noise.base import Noise, OutOfPlaceNoise, Site, Sizes
from antifragile.optim.noise.kernel import kernel_for
from antifragile.optim.noise.norms import initial_deviation, joint_norm, spread
from antifragile.optim.noise.streams import draw, normal_levels, uniform, uniform_levels


class Drawn(OutOfPlaceNoise):
    """Independent elements of mean 0 and variance 1."""

    @abstractmethod
    def table(self) -> Tensor | None:
        """Magnitudes to choose from, (32768,) float32; None for signs alone."""

    is_separable = True

    def unit(self, site: Site) -> list[Tensor]:
        like = site.parameters
        dtype = torch.promote_types(like[0].dtype, torch.float32)
        noise = [torch.empty(p.shape, dtype=dtype, device=p.device) for p in like]
        if (run := kernel_for(noise)) is None:
            return draw(site.stream, self.table(), site.indices, like)
        run(site.stream, self.table(), site.indices, noise, [1.0] * len(noise), adds=False)
        return [part.to(p.dtype) for part, p in zip(noise, like, strict=True)]

    def add(
        self,
        site: Site,
        targets: Sequence[Tensor],
        sizes: Sizes,
        *,
        sources: Sequence[Tensor] | None = None,
    ) -> Tensor | None:
        if (run := kernel_for(targets, sources)) is not None:
            return run(site.stream, self.table(), site.indices, targets, sizes, sources=sources)
        return super().add(site, targets, sizes, sources=sources)


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
        sources: Sequence[Tensor] | None = None,
    ) -> Tensor | None:
        deviations = [initial_deviation(t, is_batched=site.is_batched) for t in targets]
        scaled = [size * d for size, d in zip(sizes, deviations, strict=True)]
        return super().add(site, targets, scaled, sources=sources)


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
