"""Experiment ``octopus``: how many iterations pass d saddles (`problems.octopus`).

Every method starts from the same points, Unif[-1, 1]^d, and stops at 1 % above the minimum.
GD, momentum and gradient noise step with rate 1/(4L), as published; PGD kicks within a ball of
radius r when the gradient is below gamma e / 100. Every method has one number to tune and three
values for it, fixed beforehand; all are printed.

The functions of all L are evaluated together; each L has its own parameter of R seeds and its own
optimizer.

Source: Du et al. 2017, arXiv 1705.10412, section 5.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial

import pandas as pd
import torch
from torch import Tensor

from antifragile.optim import presets
from antifragile.optim.rules import Rule
from benchmarks.perturbation.parts import Experiment, Frames, Part, summarised
from benchmarks.perturbation.problems.octopus import Octopus
from benchmarks.perturbation.records import BenchSettings
from benchmarks.perturbation.training.methods import attach
from benchmarks.perturbation.training.networks import stream

DIMENSIONS = (5, 10)
SMOOTHNESS = (1.0, 1.5, 2.0, 3.0)
LIMIT = 5000
CLOSE = 0.99  # of the minimum
THRESHOLD = math.e / 100  # of the gradient norm, for a kick
_QUICK_LIMIT = 1000
_CHECK_EVERY = 10

Base = Callable[[Tensor, float, float], torch.optim.Optimizer]
"""(parameter, L, value of the method's number) -> optimizer."""


@dataclass(frozen=True, kw_only=True)
class Descent:
    """A method with the one number it has to tune.

    Args:
        name: Name in the table.
        knob: Name of the number.
        values: Three of them; the middle one is the published or the usual.
        base: The optimizer.
        rules: The perturbation, from the number.
    """

    name: str
    knob: str
    values: tuple[float, float, float]
    base: Base
    rules: Callable[[float], tuple[Rule, ...]] = lambda value: ()


def _published(x: Tensor, smoothness: float, _: float) -> torch.optim.Optimizer:
    return torch.optim.SGD([x], lr=1 / (4 * smoothness))


DESCENTS = (
    Descent(
        name="GD",
        knob="rate * L",
        values=(0.125, 0.25, 0.5),
        base=lambda x, smoothness, share: torch.optim.SGD([x], lr=share / smoothness),
    ),
    Descent(
        name="momentum",
        knob="beta",
        values=(0.5, 0.9, 0.99),
        base=lambda x, smoothness, beta: torch.optim.SGD(
            [x], lr=1 / (4 * smoothness), momentum=beta
        ),
    ),
    Descent(
        name="Adam",
        knob="rate",
        values=(0.01, 0.1, 1.0),
        base=lambda x, _, rate: torch.optim.Adam([x], lr=rate),
    ),
    Descent(
        name="gradient noise",
        knob="eta",
        values=(1e-4, 1e-2, 1.0),
        base=_published,
        rules=presets.annealed_gradient_noise,
    ),
    Descent(
        name="PGD",
        knob="r",
        values=(math.e / 1000, math.e / 100, math.e / 10),
        base=_published,
        rules=lambda radius: presets.pgd(radius, THRESHOLD, wait=1),
    ),
)


def parts(settings: BenchSettings) -> list[Part]:
    """Race every method down every octopus.

    Args:
        settings: ``quick`` keeps d = 5, L = 1, the middle values and 1000 iterations.
    """
    limit = _limit(settings)
    smoothness = SMOOTHNESS[:1] if settings.quick else SMOOTHNESS
    return [
        Part(
            label=f"d = {d}, {descent.name}, {descent.knob} = {value:.3g}",
            run=partial(race, place, value, d, smoothness, range(settings.seeds), limit),
        )
        for d in (DIMENSIONS[:1] if settings.quick else DIMENSIONS)
        for place, descent in enumerate(DESCENTS)
        for value in (descent.values[1:2] if settings.quick else descent.values)
    ]


def _limit(settings: BenchSettings) -> int:
    return _QUICK_LIMIT if settings.quick else LIMIT


def race(
    place: int,
    value: float,
    d: int,
    smoothness: Sequence[float],
    seeds: Sequence[int],
    limit: int,
) -> Frames:
    """Count the iterations of one method at one setting, for every L and seed.

    Args:
        place: Position of the method in `DESCENTS`.
        value: The value of its number.
        d: Dimensions.
        smoothness: All L.
        seeds: All starts.
        limit: Iterations.

    Returns:
        A row per L and seed; ``iterations`` is NaN where the limit came first. No curves.
    """
    descent, begun, many = DESCENTS[place], time.process_time(), len(seeds)
    each = torch.tensor(smoothness, dtype=torch.float64).repeat_interleave(many)
    start = torch.stack([_start(seed, d) for seed in seeds])
    points = [torch.nn.Parameter(start.clone()) for _ in smoothness]
    pairs = zip(points, smoothness, strict=True)
    optimizers = [descent.base(x, one, value) for x, one in pairs]
    with ExitStack() as stack:
        for optimizer in optimizers:
            stack.enter_context(attach(optimizer, descent.rules(value), seeds=seeds))
        arrived, steps = _descend(Octopus(smoothness=each), points, optimizers, limit)
    frame = pd.DataFrame(
        {
            "method": descent.name,
            "knob": descent.knob,
            "value": value,
            "d": d,
            "L": each.numpy(),
            "seed": list(seeds) * len(smoothness),
            "iterations": arrived.where(arrived >= 0, torch.nan).numpy(),
            "gradient_evaluations": torch.where(arrived >= 0, arrived, steps).long().numpy(),
            "seconds": (time.process_time() - begun) / len(each),
        }
    )
    return frame, pd.DataFrame()


def _descend(
    octopus: Octopus,
    points: Sequence[Tensor],
    optimizers: Sequence[torch.optim.Optimizer],
    limit: int,
) -> tuple[Tensor, int]:
    """The iteration at which each replica was close, (R,) with -1 for never, and steps taken."""
    goal = CLOSE * octopus.minimum(points[0].shape[1])
    arrived = torch.full_like(goal, -1)
    for step in range(limit + 1):
        values = octopus(torch.cat(list(points)))
        arrived = torch.where((arrived < 0) & (values.detach() <= goal), step, arrived)
        if step % _CHECK_EVERY == 0 and bool((arrived >= 0).all()):
            break
        for optimizer in optimizers:
            optimizer.zero_grad()
        torch.autograd.backward(values.sum())
        for optimizer in optimizers:
            optimizer.step()
    return arrived, step


def summarise(runs: pd.DataFrame) -> pd.DataFrame:
    """A row per method, setting, d and L; runs that did not arrive are counted, not averaged."""
    shown = runs.assign(within=runs["iterations"].fillna(math.inf))
    return summarised(
        shown,
        ["d", "L", "method", "knob", "value"],
        n=("within", "size"),
        arrived=("iterations", "count"),
        median=("within", "median"),
        fastest=("iterations", "min"),
        slowest=("iterations", "max"),
    )


def _start(seed: int, d: int) -> Tensor:
    return 2 * torch.rand(d, generator=stream(seed, "octopus"), dtype=torch.float64) - 1


EXPERIMENT = Experiment(
    name="octopus",
    question="how many iterations pass a chain of saddles?",
    minutes=2,
    parts=parts,
    grids=lambda settings: {
        "d": DIMENSIONS,
        "L": SMOOTHNESS,
        "limit": _limit(settings),
        **{f"{one.name}: {one.knob}": one.values for one in DESCENTS},
    },
    summarise=summarise,
    notes=lambda _, grids: [f"A run that needs over {grids['limit']:,} iterations is stopped."],
)
