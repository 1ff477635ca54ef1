"""Noise types with a direction: along the gradient or the momentum, or toward a target."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import ClassVar, Literal

import torch
from torch import Tensor

from antifragile.errors import UsageError
from antifragile.optim.checks import check_number
from antifragile.optim.noise.base import Noise, OutOfPlaceNoise, Site, Sizes
from antifragile.optim.noise.drawn import InitLike
from antifragile.optim.noise.kernel import add_native, can_add, is_native
from antifragile.optim.noise.norms import joint_norm, spread
from antifragile.optim.noise.streams import draw, uniform_levels


@dataclass(frozen=True)
class Along(OutOfPlaceNoise):
    """The gradient or the momentum, scaled to norm one over all parameters of the rule together.

    Args:
        what: ``"grad"`` or ``"momentum"``.
        adaptive: True measures lengths in units of the weights: ``T^2 g / |T g|`` with
            ``T = |w| + floor`` (Kwon et al. 2021, arXiv 2102.11600, equation 6).
        downhill: True goes against the direction.
        exact: True takes the gradient of the same batch, by a closure; False that of the last
            step.
        floor: Number added to ``|w|``.
    """

    what: Literal["grad", "momentum"] = "grad"
    adaptive: bool = False
    downhill: bool = False
    exact: bool = False
    floor: float = 0.01

    def __post_init__(self) -> None:
        if self.what not in ("grad", "momentum"):
            raise UsageError(f"Along follows {self.what!r}; expected 'grad' or 'momentum'.")
        if self.exact and self.what == "momentum":
            raise UsageError("Along('momentum') has no exact form; leave exact out.")
        check_number(self.floor, "the floor")

    @property
    def remembers(self) -> str:  # type: ignore[override]  # depends on an argument
        """The vector to follow."""
        return "gradient" if self.what == "grad" else "momentum"

    @property
    def needs_closure(self) -> bool:  # type: ignore[override]  # depends on an argument
        """Whether a second gradient is needed."""
        return self.exact

    def unit(self, site: Site) -> list[Tensor]:
        if site.memory is None:  # no gradient yet
            return [torch.zeros_like(p) for p in site.parameters]
        noise = list(site.memory)
        lengths = [p.abs().add_(self.floor) for p in site.parameters] if self.adaptive else None
        if lengths:
            noise = list(torch._foreach_mul(noise, lengths))
        norm = joint_norm(noise, is_batched=site.is_batched)
        if lengths:
            torch._foreach_mul_(noise, lengths)
        factor = torch.where((norm > 0) & norm.isfinite(), 1.0 / norm, 0.0)
        if self.downhill:
            factor = -factor
        if norm.is_cpu and bool(norm.isfinite().all()):
            return [part * spread(factor, part) for part in noise]
        if not lengths:
            noise = [part.clone() for part in noise]
        for part in noise:
            # a gradient that is not finite perturbs nothing
            part.nan_to_num_(nan=0.0, posinf=0.0, neginf=0.0).mul_(spread(factor, part))
        return noise

    def add(
        self,
        site: Site,
        targets: Sequence[Tensor],
        sizes: Sizes,
        *,
        sources: Sequence[Tensor] | None = None,
    ) -> Tensor | None:
        memory = site.memory
        lists = [targets, memory or targets, sources or targets]
        can = is_native(targets) if site.is_batched else True
        if memory is not None and not self.adaptive and can and can_add(*lists):
            found = joint_norm(memory, is_batched=site.is_batched).reshape(-1).tolist()
            if all(map(math.isfinite, found)):
                sign = -1.0 if self.downhill else 1.0
                scales = [sign / norm if norm > 0 else 0.0 for norm in found]
                return add_native(site.stream, memory, scales, targets, sizes, sources=sources)
        return super().add(site, targets, sizes, sources=sources)

    def norm(self, n_elements: int) -> float:
        return 1.0


@dataclass(frozen=True)
class Toward(Noise):
    """The way from the weights to a target; at scale one the weights arrive there.

    Args:
        target: ``"zero"``; ``"start"``, the weights when the rule was attached (kept as a copy);
            or ``"fresh"``, a new draw of `InitLike`.
        fraction: Share of the elements that move, chosen anew each time.
        resets_moments: True zeroes the optimizer's moments of the elements that move.
    """

    target: Literal["zero", "start", "fresh"] = "zero"
    fraction: float = 1.0
    resets_moments: bool = False
    only: ClassVar[str | None] = "step"

    def __post_init__(self) -> None:
        if self.target not in ("zero", "start", "fresh"):
            raise UsageError(
                f"Toward has the target {self.target!r}; expected 'zero', 'start' or 'fresh'."
            )
        check_number(self.fraction, "the fraction", at_most=1.0)

    @property
    def remembers(self) -> str | None:  # type: ignore[override]  # depends on an argument
        """The first weights, where they are the target."""
        return "start" if self.target == "start" else None

    def unit(self, site: Site) -> list[Tensor]:
        return list(torch._foreach_sub(self._targets(site), list(site.parameters)))

    def add(self, site: Site, targets: Sequence[Tensor], sizes: Sizes) -> None:
        ends, masks = self._targets(site), self._masks(site)
        for i, (weights, end, mask, size) in enumerate(
            zip(targets, ends, masks, sizes, strict=True)
        ):
            share = torch.as_tensor(spread(size, weights), dtype=weights.dtype, device=end.device)
            moves = mask & (share != 0)
            weights.copy_(torch.where(moves, torch.lerp(weights, end, share), weights))
            if self.resets_moments and site.reset is not None:
                site.reset(i, moves)

    def _targets(self, site: Site) -> list[Tensor]:
        if self.target == "start":
            assert site.memory is not None
            return list(site.memory)
        if self.target == "fresh":
            return InitLike().unit(site)
        return [torch.zeros_like(p) for p in site.parameters]

    def _masks(self, site: Site) -> list[Tensor]:
        """Masks of the elements that move: bool, shaped as the parameters."""
        if self.fraction >= 1.0:
            return [torch.ones_like(p, dtype=torch.bool) for p in site.parameters]
        apart = replace(site.stream, rule=site.stream.rule | 1 << 15)  # not the bits of InitLike
        drawn = draw(apart, uniform_levels(), site.indices, site.parameters)
        edge = (2 * self.fraction - 1) * float(uniform_levels()[-1])
        return [part < edge for part in drawn]
