"""Noise types made of another noise: its differences, or its elements in other units."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import ClassVar

import torch
from torch import Tensor

from antifragile.errors import UsageError
from antifragile.optim.checks import check_number
from antifragile.optim.noise.base import Noise, OutOfPlaceNoise, Site, Sizes
from antifragile.optim.noise.drawn import Drawn, Gaussian, Sphere, Uniform
from antifragile.optim.noise.kernel import is_native, run_native
from antifragile.optim.noise.norms import filter_norms


@dataclass(frozen=True)
class Anti(Noise):
    """The difference of successive noises, ``s_t xi_t - s_(t-1) xi_(t-1)``.

    The sum over steps is only the last noise. A rule on ``"weight"`` does the same with plain
    noise: each perturbation is removed before the next is added.

    Args:
        noise: A noise that can be drawn again at another step.

    Source: Orvieto et al. 2022, arXiv 2202.02831, equation 3.
    """

    noise: Noise

    def __post_init__(self) -> None:
        if not isinstance(self.noise, Drawn | Sphere):
            raise UsageError(
                f"Anti needs a noise that can be drawn again; got {self.noise!r}. "
                "Use Gaussian, Rademacher, Uniform, InitLike or Sphere."
            )

    def unit(self, site: Site) -> list[Tensor]:
        noise = [torch.zeros_like(p) for p in site.parameters]
        self.add(site, noise, [1.0] * len(noise))
        return noise

    def add(self, site: Site, targets: Sequence[Tensor], sizes: Sizes) -> None:
        self.noise.add(site, targets, sizes)
        if site.stream.step > 0 and site.sizes_before is not None:
            before = replace(site, stream=replace(site.stream, step=site.stream.step - 1))
            self.noise.add(before, targets, [-size for size in site.sizes_before])

    def norm(self, n_elements: int) -> float:
        return math.sqrt(2.0) * self.noise.norm(n_elements)


@dataclass(frozen=True)
class Filterwise(OutOfPlaceNoise):
    """Another noise times the norm of the filter (row, output unit) that an element belongs to.

    Args:
        noise: The noise to multiply.

    Source: Li et al. 2022, arXiv 2211.11489, section 4.3.
    """

    noise: Noise

    @property
    def is_separable(self) -> bool:  # type: ignore[override]  # depends on an argument
        """Whether that of the other noise is."""
        return isinstance(self.noise, OutOfPlaceNoise) and self.noise.is_separable

    def unit(self, site: Site) -> list[Tensor]:
        noise = self.noise.unit(site)
        for part, weights in zip(noise, site.parameters, strict=True):
            part.mul_(filter_norms(weights, is_batched=site.is_batched))
        return noise

    def add(
        self,
        site: Site,
        targets: Sequence[Tensor],
        sizes: Sizes,
        *,
        sources: Sequence[Tensor] | None = None,
    ) -> Tensor | None:
        table = self.noise.table() if isinstance(self.noise, Gaussian | Uniform) else None
        if table is not None and all(p.numel() for p in targets) and is_native(targets, sources):
            norms = [filter_norms(p, is_batched=site.is_batched) for p in site.parameters]
            factors = [norm.contiguous() for norm in norms]
            return run_native(
                site.stream, table, site.indices, targets, sizes, sources=sources, factors=factors
            )
        return super().add(site, targets, sizes, sources=sources)


@dataclass(frozen=True)
class Samplewise(Noise):
    """Another noise divided by the root of the number of elements of a sample.

    So the noise of a whole sample has length 1, however many tokens it has: for inputs of shape
    (B, L, d) a noise of variance 1 is divided by ``sqrt(L d)``.

    Args:
        noise: The noise to divide.

    Source: Jain et al. 2023, arXiv 2310.05914, algorithm 1.
    """

    noise: Noise
    only: ClassVar[str | None] = "input"

    def unit(self, site: Site) -> list[Tensor]:
        noise = self.noise.unit(site)
        first = 2 if site.is_batched else 1
        return [part.div_(math.sqrt(max(math.prod(part.shape[first:]), 1))) for part in noise]

    def norm(self, n_elements: int) -> float:
        return 1.0


@dataclass(frozen=True)
class Preconditioned(Noise):
    """Another noise times ``sqrt(G)``, ``G = 1 / (sqrt(V) + floor)``, V the running square.

    V is the optimizer's own (``exp_avg_sq`` debiased, or ``square_avg``). For an optimizer without
    one, V is kept here and the gradient is multiplied by G before the step.

    Args:
        noise: The noise to multiply.
        decay: Decay rate of V where it is kept here.
        floor: The constant lambda that keeps G finite.

    Source: Li et al. 2016, arXiv 1512.07666, algorithm 1.
    """

    noise: Noise
    decay: float = 0.99
    floor: float = 1e-5
    remembers: ClassVar[str | None] = "squares"
    only: ClassVar[str | None] = "step"

    def __post_init__(self) -> None:
        check_number(self.decay, "the decay", at_most=1.0)
        check_number(self.floor, "the floor", above=True)

    def unit(self, site: Site) -> list[Tensor]:
        noise = self.noise.unit(replace(site, memory=None))  # the squares are not its memory
        assert site.memory is not None
        for part, square in zip(noise, site.memory, strict=True):
            part.mul_(self.preconditioner(square).sqrt_())
        return noise

    def preconditioner(self, square: Tensor) -> Tensor:
        """Compute G from a running square, as a fresh tensor."""
        return square.sqrt().add_(self.floor).reciprocal_()
