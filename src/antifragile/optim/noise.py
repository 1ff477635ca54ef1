"""What: the noises a rule can add, each a way to fill tensors of unit size.

Random noises are drawn by address (`streams.py`), so they can be drawn again instead of being
stored. Directed ones take the gradient or the momentum, scaled to norm one over all parameters of
the rule.

Shape letters: R replicas.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import ClassVar, Literal

import torch
from torch import Tensor

from antifragile.errors import UsageError
from antifragile.optim.native import is_native, run_native
from antifragile.optim.scale import check_number
from antifragile.optim.streams import Stream, draw, normal_levels, uniform, uniform_levels

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


class Noise:
    """A unit noise.

    ``follows`` names the vector it needs ("gradient", "momentum", or none), ``keeps`` what the
    handle must keep for it ("starts", "squares", or none); ``needs_closure`` asks for a second
    gradient inside the step; ``only`` is the one place where it makes sense.
    """

    follows: ClassVar[str | None] = None
    keeps: ClassVar[str | None] = None
    only: ClassVar[str | None] = None
    needs_closure: ClassVar[bool] = False

    def unit(self, site: Site) -> list[Tensor]:
        """Fresh tensors of unit noise, shaped as the parameters."""
        raise NotImplementedError

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
            backups: Receive the targets' old values; only where `fuses` says so.
        """
        assert backups is None
        noise = self.unit(site)
        for part, size in zip(noise, sizes, strict=True):
            part.mul_(spread(size, part))
        torch._foreach_add_(list(targets), noise)

    def fuses(self, targets: Sequence[Tensor]) -> bool:
        """Whether `add` can copy the targets' old values aside in the same pass."""
        return False

    def norm(self, n_elements: int) -> float:
        """Of the unit noise, about."""
        return math.sqrt(n_elements)


class _Drawn(Noise):
    """Independent elements of mean 0 and variance 1."""

    def table(self) -> Tensor | None:
        """(32768,) magnitudes; None for signs."""
        raise NotImplementedError

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

    def fuses(self, targets: Sequence[Tensor]) -> bool:
        return is_native(targets)


@dataclass(frozen=True)
class Gaussian(_Drawn):
    """Normal elements, in 65,536 equally likely levels (see `streams.normal_levels`)."""

    def table(self) -> Tensor:
        return normal_levels()


@dataclass(frozen=True)
class Rademacher(_Drawn):
    """Signs: +1 or -1 with equal chance; the cheapest noise of variance 1."""

    def table(self) -> None:
        return None


@dataclass(frozen=True)
class Uniform(_Drawn):
    """Uniform elements of variance 1."""

    def table(self) -> Tensor:
        return uniform_levels()


@dataclass(frozen=True)
class InitLike(_Drawn):
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
class Anti(Noise):
    """The difference of successive noises, ``s_t xi_t - s_(t-1) xi_(t-1)``: its sum telescopes.

    On ``"weight"`` plain noise is that already: it is taken out before the next is put in.

    Source: Orvieto et al. 2022, arXiv 2202.02831, equation 3.
    """

    noise: Noise

    def __post_init__(self) -> None:
        if not isinstance(self.noise, _Drawn | Sphere):
            raise UsageError(
                f"Anti needs a noise that can be drawn again; got {self.noise!r}. "
                "Use Gaussian, Rademacher, Uniform, InitLike or Sphere."
            )

    def unit(self, site: Site) -> list[Tensor]:
        noise = [torch.zeros_like(p) for p in site.parameters]
        self.add(site, noise, [1.0] * len(noise))
        return noise

    def add(
        self,
        site: Site,
        targets: Sequence[Tensor],
        sizes: Sizes,
        *,
        backups: Sequence[Tensor] | None = None,
    ) -> None:
        self.noise.add(site, targets, sizes)
        if site.stream.step > 0 and site.sizes_before is not None:
            before = replace(site, stream=replace(site.stream, step=site.stream.step - 1))
            self.noise.add(before, targets, [-size for size in site.sizes_before])

    def norm(self, n_elements: int) -> float:
        return math.sqrt(2.0) * self.noise.norm(n_elements)


@dataclass(frozen=True)
class Filterwise(Noise):
    """Another noise times the norm of the filter (row, output unit) that an element belongs to.

    Source: Li et al. 2022, arXiv 2211.11489, section 4.3.
    """

    noise: Noise

    def unit(self, site: Site) -> list[Tensor]:
        noise = self.noise.unit(site)
        for part, weights in zip(noise, site.parameters, strict=True):
            part.mul_(filter_norms(weights, is_batched=site.is_batched))
        return noise


@dataclass(frozen=True)
class Preconditioned(Noise):
    """Another noise times ``sqrt(G)``, ``G = 1 / (sqrt(V) + floor)``, V the running square.

    V is the optimizer's own (``exp_avg_sq`` debiased, ``square_avg``); an optimizer without one
    gets one here, and its gradient is multiplied by G before the step.

    Args:
        noise: What to multiply.
        decay: Of the running square, where it is our own.
        floor: lambda.

    Source: Li et al. 2016, arXiv 1512.07666, algorithm 1.
    """

    noise: Noise
    decay: float = 0.99
    floor: float = 1e-5
    keeps: ClassVar[str | None] = "squares"
    only: ClassVar[str | None] = "step"

    def __post_init__(self) -> None:
        check_number(self.decay, "the decay", at_most=1.0)
        check_number(self.floor, "the floor", above=True)

    def unit(self, site: Site) -> list[Tensor]:
        noise = self.noise.unit(site)
        assert site.squares is not None
        for part, square in zip(noise, site.squares, strict=True):
            part.mul_(self.preconditioner(square).sqrt_())
        return noise

    def preconditioner(self, square: Tensor) -> Tensor:
        """G, a fresh tensor."""
        return square.sqrt().add_(self.floor).reciprocal_()


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


def spread(size: float | Tensor, over: Tensor) -> float | Tensor:
    """A number per replica in a shape that multiplies a tensor of many replicas."""
    if not isinstance(size, Tensor) or size.ndim == 0:
        return size
    return size.to(over).reshape(-1, *[1] * (over.ndim - 1))


def joint_norm(tensors: Sequence[Tensor], *, is_batched: bool) -> Tensor:
    """The Euclidean norm over all tensors: (), or (R,) where they are batched; float64."""
    return tensor_norms(tensors, is_batched=is_batched).square().sum(dim=-1).sqrt()


def tensor_norms(tensors: Sequence[Tensor], *, is_batched: bool) -> Tensor:
    """The norm of every tensor: (T,), or (R, T) where they are batched; float64."""
    if is_batched:
        norms = [torch.linalg.vector_norm(t.flatten(1), dim=1) for t in tensors]
    else:
        norms = list(torch._foreach_norm(list(tensors)))
    return torch.stack([norm.double() for norm in norms], dim=-1)


def filter_norms(weights: Tensor, *, is_batched: bool) -> Tensor:
    """The norm of each filter, shaped to multiply the weights; a vector is one filter."""
    first = 2 if is_batched else 1
    dims = tuple(range(first, weights.ndim)) or (weights.ndim - 1,)
    if weights.ndim < first:
        return weights.abs()
    norms: Tensor = torch.linalg.vector_norm(weights, dim=dims, keepdim=True)
    return norms


def initial_deviation(weights: Tensor, *, is_batched: bool) -> float:
    """Standard deviation of PyTorch's default initialisation: 1/sqrt(3 fan-in), 0 for vectors."""
    shape = weights.shape[1:] if is_batched else weights.shape
    return 1.0 / math.sqrt(3 * math.prod(shape[1:])) if len(shape) >= 2 else 0.0
