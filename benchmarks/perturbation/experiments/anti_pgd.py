"""Experiment ``anti-pgd``: correlated noise finds flat minima, plain noise does not.

Every seed draws a regression problem with squared weights (`problems.regression`) and goes down it
with plain SGD at rate 0.01: without noise, with fresh noise added to the weights after every step,
or with the difference of successive noises (Anti-PGD), each of standard deviation s. The
controllers are given the same s. Noise is off for the last fifth; curves are of the clean weights.

Source: Orvieto et al. 2022, arXiv 2202.02831, section 4.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from functools import partial
from itertools import product

import numpy as np
import pandas as pd
import torch

from benchmarks.perturbation.parts import Experiment, Frames, Part, summarised
from benchmarks.perturbation.problems.regression import QuadraticRegression, make_regression
from benchmarks.perturbation.records import BenchSettings
from benchmarks.perturbation.training.methods import WeightNoise, attach, weight_noise

RATE, STEPS = 0.01, 15_000
SIZES = (0.02, 0.05, 0.1, 0.2)
_QUICK_STEPS = 2000
_LOOKS = 100


def parts(settings: BenchSettings) -> list[Part]:
    """Descend every problem with every method and size of noise.

    Args:
        settings: ``quick`` keeps GD, plain noise and Anti-PGD at s = 0.2 and 2000 steps at five
            times the rate.
    """
    return [
        Part(
            label=str(method),
            run=partial(_descend, method, range(settings.seeds), quick=settings.quick),
        )
        for method in (list(WeightNoise)[:3] if settings.quick else WeightNoise)
    ]


def summarise(runs: pd.DataFrame) -> pd.DataFrame:
    """A row per method and size: median and range of the test loss, median trace at the end."""
    return summarised(
        runs,
        ["method", "size"],
        n=("test_loss", "size"),
        test_loss=("test_loss", "median"),
        least=("test_loss", "min"),
        greatest=("test_loss", "max"),
        train_loss=("train_loss", "median"),
        trace=("trace", "median"),
    )


def _descend(method: WeightNoise, seeds: Sequence[int], *, quick: bool) -> Frames:
    """Train the weights of all seeds with all sizes of noise together."""
    begun, looks = time.process_time(), []
    steps = _QUICK_STEPS if quick else STEPS
    sizes = _sizes(method, quick=quick)
    places = pd.DataFrame(product(sizes, seeds), columns=["size", "seed"])
    problem = make_regression(places["seed"].tolist())
    w = torch.nn.Parameter(problem.start.clone())  # (sizes * seeds, d)
    optimizer = torch.optim.SGD([w], lr=RATE * STEPS / steps)
    rules = weight_noise(method, sizes=places["size"].tolist(), until=steps * 4 // 5)
    with attach(optimizer, rules, seeds=places["seed"].tolist()) as clean:
        for step in range(steps + 1):
            if step % (steps // _LOOKS) == 0:
                with clean(), torch.no_grad():
                    looks.append(places.assign(step=step, **_look(problem, w)))
            optimizer.zero_grad()
            torch.autograd.backward(problem.loss(w).sum())
            optimizer.step()
    curves = pd.concat(looks, ignore_index=True).assign(method=str(method))
    runs = curves[curves["step"] == steps].drop(columns="step")
    seconds = (time.process_time() - begun) / len(places)
    return runs.assign(gradient_evaluations=steps, seconds=seconds), curves


def _sizes(method: WeightNoise, *, quick: bool) -> tuple[float, ...]:
    if method is WeightNoise.NONE:
        return (0.0,)
    return SIZES[-1:] if quick else SIZES


def _look(problem: QuadraticRegression, w: torch.Tensor) -> dict[str, np.ndarray]:
    return {
        "test_loss": problem.test_loss(w).numpy(),
        "train_loss": problem.loss(w).numpy(),
        "trace": problem.hessian_trace(w).numpy(),
    }


EXPERIMENT = Experiment(
    name="anti-pgd",
    question="does correlated noise find flat minima where plain noise does not?",
    minutes=2,
    parts=parts,
    grids=lambda _: {"learning_rate": RATE, "steps": STEPS, "s": SIZES, "noise off": "last fifth"},
    summarise=summarise,
    notes=lambda *_: (
        "Medians over seeds, each with its own problem and start; test loss exact, of clean "
        "weights.",
    ),
)
