"""Experiment ``deep-mnist``: gradient noise that makes an untrainable network learn.

Twenty hidden layers of 50 ReLU units, plain SGD at rate 0.1, batches of 100, pixels in [0, 1],
gradients clipped at norm 10 (before noise is added), as in the paper's experiments 3, 5 and 6. From
zero weights, or weights of N(0, 0.1^2), gradients do not reach the lower layers. Gaussian noise on
the gradient lets the weights wander until they do. Too little comes too late; too much, or noise
that goes on, ruins what has been learned. The published schedule has variance eta / (1 + t)^0.55;
the controllers are given the same eta and decide themselves. Good initialisation (He) is the row
in which noise has nothing to do.

A run learns when the test accuracy after the last epoch is at least 50 %.

Source: Neelakantan et al. 2015, arXiv 1511.06807, section 4.1.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cache, partial
from pathlib import Path

import numpy as np
import pandas as pd
import torch

from antifragile.config.specs.training import Normalization
from antifragile.data.datasets import load_dataset
from antifragile.data.splits import Dataset, Split
from benchmarks.perturbation.measures.sensitivity import wilson_interval
from benchmarks.perturbation.parts import Experiment, Frames, Part, summarised
from benchmarks.perturbation.records import BenchSettings
from benchmarks.perturbation.training.loop import History, train
from benchmarks.perturbation.training.methods import Schedule, attach, gradient_noise
from benchmarks.perturbation.training.networks import (
    Initialisation,
    ReplicaMLP,
    epoch_orders,
    evaluate,
)

DEPTH, WIDTH = 20, 50
RATE, BATCH, EPOCHS = 0.1, 100, 8
ETAS = (0.003, 0.01, 0.03, 0.1, 0.3)
GAMMA = 0.55
CLIP = 10.0
LEARNED_PERCENT = 50.0
_CURVE_SAMPLES = 2000  # of the validation split, after every epoch
_QUICK_SAMPLES = 3000


@dataclass(frozen=True)
class Arm:
    """One row: from which weights, under which schedule, how much."""

    initialisation: Initialisation
    schedule: Schedule
    eta: float


def parts(settings: BenchSettings) -> list[Part]:
    """Train every initialisation under every schedule and scale.

    Args:
        settings: ``quick`` keeps zero weights, one scale, two schedules, 2 seeds and 30 batches.
    """
    seeds = range(min(2, settings.seeds) if settings.quick else settings.seeds)
    _load(settings.data_dir)  # a missing file is said before any worker starts
    return [
        Part(
            label=f"{arm.initialisation} initialisation, {arm.schedule}, eta = {arm.eta:g}",
            run=partial(_train, arm, settings.data_dir, seeds, quick=settings.quick),
        )
        for arm in arms(quick=settings.quick)
    ]


def arms(*, quick: bool) -> Iterator[Arm]:
    """All rows, or the two of the short form."""
    if quick:
        yield Arm(Initialisation.ZERO, Schedule.NONE, 0.0)
        yield Arm(Initialisation.ZERO, Schedule.REVIVE, 0.3)
        return
    for initialisation in (Initialisation.ZERO, Initialisation.SIMPLE, Initialisation.HE):
        yield Arm(initialisation, Schedule.NONE, 0.0)
        for schedule in (Schedule.REVIVE, Schedule.FIXED):
            scales = ETAS[::2] if initialisation is Initialisation.HE else ETAS
            yield from (Arm(initialisation, schedule, eta) for eta in scales)
    for initialisation in (Initialisation.ZERO, Initialisation.SIMPLE):
        for schedule in (Schedule.GRAD_VARIANCE, Schedule.CURVATURE):
            yield from (Arm(initialisation, schedule, eta) for eta in ETAS)


def summarise(runs: pd.DataFrame) -> pd.DataFrame:
    """A row per arm: how many runs learned, with Wilson's interval, and how well."""
    rows = summarised(
        runs,
        ["initialisation", "schedule", "eta"],
        n=("learned", "size"),
        learned=("learned", "sum"),
        accuracy=("test_accuracy", pd.Series.mean),
        best_accuracy=("test_accuracy", "max"),
    )
    low, high = wilson_interval(rows["learned"], rows["n"])
    place = rows.columns.get_loc("accuracy")
    rows.insert(place, "low", low)
    rows.insert(place + 1, "high", high)
    return rows


@cache
def _load(data_dir: Path | None) -> Dataset:
    return load_dataset("mnist", data_dir=data_dir, normalization=Normalization.UNIT)


def _train(arm: Arm, data_dir: Path | None, seeds: Sequence[int], *, quick: bool) -> Frames:
    """Train the seeds of one arm together."""
    data = _load(data_dir)
    sizes = (data.n_inputs, *[WIDTH] * DEPTH, data.n_classes)
    model = ReplicaMLP(sizes, seeds=seeds, initialisation=arm.initialisation)
    optimizer = torch.optim.SGD(model.parameters(), lr=RATE)
    rules = gradient_noise(arm.schedule, eta=arm.eta, gamma=GAMMA)
    split = _first(data.train, _QUICK_SAMPLES) if quick else data.train
    with attach(optimizer, rules, seeds=seeds) as clean:
        history = train(
            model,
            optimizer,
            split,
            partial(epoch_orders, seeds, n_samples=split.n_samples),
            epochs=1 if quick else EPOCHS,
            batch_size=BATCH,
            watch={"validation": _first(data.validation, _CURVE_SAMPLES)},
            clean=clean,
            clip=CLIP,
        )
        with clean():
            accuracy = evaluate(model, data.test, len(seeds))[1].numpy()
    return _frames(arm, seeds, history, accuracy)


def _frames(arm: Arm, seeds: Sequence[int], history: History, accuracy: np.ndarray) -> Frames:
    named = {
        "initialisation": str(arm.initialisation),
        "schedule": str(arm.schedule),
        "eta": arm.eta,
    }
    runs = pd.DataFrame(
        {
            **named,
            "seed": list(seeds),
            "test_accuracy": accuracy,
            "learned": accuracy >= LEARNED_PERCENT,
            "gradient_evaluations": history.gradient_evaluations,
            "seconds": history.seconds / len(seeds),
        }
    )
    curve = history.accuracy["validation"]  # (evaluations, R)
    seed, epoch = np.repeat(seeds, len(curve)), np.tile(np.arange(len(curve)), len(seeds))
    curves = {**named, "seed": seed, "epoch": epoch, "accuracy": curve.T.flatten()}
    return runs, pd.DataFrame(curves)


def _first(split: Split, n: int) -> Split:
    return Split(split.images[:n].contiguous(), split.labels[:n].contiguous())


def _notes(rows: pd.DataFrame, _: object) -> list[str]:
    """Count the scales and runs at which each schedule starts the two dead networks."""
    dead = rows[rows["initialisation"] != str(Initialisation.HE)]
    notes = []
    for schedule, cells in dead[dead["eta"] > 0].groupby("schedule", sort=False):
        learned, n = cells["learned"].sum(), cells["n"].sum()
        low, high = wilson_interval(learned, n)
        wide = (cells["learned"] >= 0.9 * cells["n"]).sum()
        notes.append(
            f"{schedule}, zero and simple initialisation: {learned} of {n} runs learn over all "
            f"scales ({low:.0f} to {high:.0f} %); at least 90 % do in {wide} of {len(cells)} rows."
        )
    return notes


EXPERIMENT = Experiment(
    name="deep-mnist",
    question="which noise starts a deep network that cannot start by itself?",
    minutes=60,
    parts=parts,
    grids=lambda _: {
        "network": f"{DEPTH} x {WIDTH} ReLU",
        "learning_rate": RATE,
        "batch_size": BATCH,
        "epochs": EPOCHS,
        "eta": ETAS,
        "gamma": GAMMA,
        "largest gradient norm": CLIP,
        "learned": f"test accuracy at least {LEARNED_PERCENT:g} %",
    },
    summarise=summarise,
    notes=_notes,
)
