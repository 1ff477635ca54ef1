"""Noises with a direction: along the gradient or the momentum, and toward a target."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import ClassVar, Literal

import torch
from torch import Tensor

from antifragile.errors import UsageError
from antifragile.optim.checks import check_number
from antifragile.optim.noise.drawn import InitLike, Noise, Site, Sizes
from antifragile.optim.noise.norms import joint_norm, spread
from antifragile.optim.noise.streams import draw, uniform_levels


@dataclass(frozen=True)
class Along(Noise):
    """The gradient or the momentum, at norm one over all parameters of the rule together.

    Args:
        what: ``"grad"`` or ``"momentum"``.
        adaptive: Measures lengths in units of the weights: ``T^2 g / |T g|`` with
            ``T = |w| + floor`` (Kwon et al. 2021, arXiv 2102.11600, equation 6).
        downhill: Against the direction instead.
        exact: Take the gradient of the very batch, by a closure; else that of the last step.
        floor: Added to ``|w|``.
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
    def follows(self) -> str:  # type: ignore[override]
        """Which vector it needs."""
        return "gradient" if self.what == "grad" else "momentum"

    @property
    def needs_closure(self) -> bool:  # type: ignore[override]
        """Whether a second gradient is needed."""
        return self.exact

    def unit(self, site: Site) -> list[Tensor]:
        if site.directions is None:  # no gradient yet
            return [torch.zeros_like(p) for p in site.parameters]
        noise = [direction.clone() for direction in site.directions]
        lengths = [p.abs().add_(self.floor) for p in site.parameters] if self.adaptive else None
        if lengths:
            torch._foreach_mul_(noise, lengths)
        norm = joint_norm(noise, is_batched=site.is_batched)
        if lengths:
            torch._foreach_mul_(noise, lengths)
        factor = torch.where((norm > 0) & norm.isfinite(), 1.0 / norm, 0.0)
        if self.downhill:
            factor = -factor
        for part in noise:
            # a gradient that is not finite perturbs nothing
            part.nan_to_num_(nan=0.0, posinf=0.0, neginf=0.0).mul_(spread(factor, part))
        return noise

    def norm(self, n_elements: int) -> float:
        return 1.0


@dataclass(frozen=True)
class Toward(Noise):
    """From the weights toward a target: at scale one the target is reached.

    Args:
        target: ``"zero"``; ``"start"``, the weights when the rule was attached (one more copy); or
            ``"fresh"``, a new draw of `InitLike`.
        fraction: Share of the elements that move, chosen anew each time.
        resets_moments: Zeroes the optimizer's moments of the elements that move.
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
    def keeps(self) -> str | None:  # type: ignore[override]
        """A copy of the first weights, where they are the target."""
        return "starts" if self.target == "start" else None

    def unit(self, site: Site) -> list[Tensor]:
        return list(torch._foreach_sub(self._targets(site), list(site.parameters)))

    def add(
        self,
        site: Site,
        targets: Sequence[Tensor],
        sizes: Sizes,
        *,
        backups: Sequence[Tensor] | None = None,
    ) -> None:
        assert backups is None
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
        """Where the weights would go."""
        if self.target == "start":
            assert site.starts is not None
            return list(site.starts)
        if self.target == "fresh":
            return InitLike().unit(site)
        return [torch.zeros_like(p) for p in site.parameters]

    def _masks(self, site: Site) -> list[Tensor]:
        """Which elements move, bool, shaped as the parameters."""
        if self.fraction >= 1.0:
            return [torch.ones_like(p, dtype=torch.bool) for p in site.parameters]
        apart = replace(site.stream, rule=site.stream.rule | 1 << 15)  # not the bits of InitLike
        drawn = draw(apart, uniform_levels(), site.indices, site.parameters)
        edge = (2 * self.fraction - 1) * float(uniform_levels()[-1])
        return [part < edge for part in drawn]
