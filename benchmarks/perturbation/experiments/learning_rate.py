"""Experiment ``learning-rate``: do perturbations make training steadier?

Per task, optimizer and method: the magnitude is chosen on seeds of its own (three magnitudes, all
rates, three seeds, on MNIST one epoch, by the least mean validation loss at the best rate), then
all rates are run with the seeds that are reported. Every method with a number to choose gets this
budget; ``none`` has nothing to choose. Controls are weight decay, dropout, and early stopping
(``none`` at the evaluation with the least validation loss). Seeds are paired: all methods of a seed
share initial weights and batch orders.

Losses are of the clean weights on the validation split; accuracy is that of the test split.

Source: Wortsman et al. 2023, arXiv 2309.14322, section 2.2.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cache, partial
from pathlib import Path

import numpy as np
import pandas as pd
import torch

from antifragile.data.datasets import load_dataset
from antifragile.data.splits import Dataset
from benchmarks.perturbation.experiments.contenders import CONTENDERS, FIVE, Contender
from benchmarks.perturbation.measures.sensitivity import capped, oscillation
from benchmarks.perturbation.measures.steadiness import summarise
from benchmarks.perturbation.parts import Experiment, Frames, Part
from benchmarks.perturbation.problems.tasks import (
    DIGITS,
    FEDERATED,
    FEW_SAMPLES,
    HALF_DECADES,
    MNIST,
    Base,
    Task,
    average_clients,
    noise_seeds,
    task_orders,
)
from benchmarks.perturbation.records import BenchSettings, say_nothing
from benchmarks.perturbation.training.loop import History, train
from benchmarks.perturbation.training.methods import attach
from benchmarks.perturbation.training.networks import ReplicaMLP

TASKS = (DIGITS, FEW_SAMPLES, FEDERATED, MNIST)
TUNING_SEEDS = (1001, 1002, 1003)


@dataclass(frozen=True)
class Cell:
    """A method at one magnitude on one optimizer of one task."""

    task: Task
    base: Base
    contender: Contender
    magnitude: float


def parts(settings: BenchSettings) -> list[Part]:
    """Tune and run every method on every task.

    Args:
        settings: ``quick`` keeps digits with AdamW, three rates, three methods and one magnitude.
    """
    return [
        Part(
            label=f"{task.name}, {base}, {contender.name}",
            run=partial(_run_contender, task, base, contender, replace(settings, say=say_nothing)),
        )
        for task in ([_shortened(DIGITS)] if settings.quick else TASKS)
        for base in task.bases
        for contender in contenders(task, quick=settings.quick)
    ]


def contenders(task: Task, *, quick: bool = False) -> tuple[Contender, ...]:
    """Choose the methods of a task: all of them, or on MNIST the controls and five presets."""
    if quick:
        return tuple(one for one in CONTENDERS if one.name in ("none", "sam", "pgd"))
    if task is MNIST:
        return tuple(one for one in CONTENDERS if not one.is_preset or one.name in FIVE)
    return CONTENDERS


def choose_magnitude(
    task: Task, base: Base, contender: Contender, data: Dataset, seeds: Sequence[int]
) -> float:
    """The magnitude with the least mean validation loss at its best rate, on seeds of its own."""
    scores, short = [], replace(task, epochs=task.tuning_epochs)
    for magnitude in contender.magnitudes:
        cell = Cell(short, base, contender, magnitude)
        runs = pd.concat([run_rate(cell, rate, data, seeds) for rate in task.rates[base]])
        losses = capped(
            runs["loss"].to_numpy().reshape(-1, len(seeds)),
            runs["initial"].to_numpy()[: len(seeds)],
        )
        scores.append(losses.mean(axis=1).min())
    return contender.magnitudes[int(np.argmin(scores))]


def run_rate(cell: Cell, rate: float, data: Dataset, seeds: Sequence[int]) -> pd.DataFrame:
    """Train all seeds of one cell at one learning rate together; a row per seed."""
    task, contender = cell.task, cell.contender
    model = ReplicaMLP(
        (data.n_inputs, *task.hidden, data.n_classes),
        seeds=np.repeat(seeds, task.clients).tolist(),
        dropout=cell.magnitude if contender.drops_out else 0.0,
    )
    optimizer = _optimizer(cell, model, rate)
    rules = contender.rules(cell.magnitude)
    with attach(optimizer, rules, seeds=noise_seeds(task, seeds), model=model) as clean:
        history = train(
            model,
            optimizer,
            data.train,
            task_orders(task, data.train, seeds),
            epochs=task.epochs,
            batch_size=task.batch_size,
            watch={"validation": data.validation, "test": data.test},
            clean=clean,
            closure=contender.closure,
            after_epoch=partial(average_clients, clients=task.clients),
        )
    return _frame(cell, rate, seeds, history)


def _run_contender(task: Task, base: Base, contender: Contender, settings: BenchSettings) -> Frames:
    """Choose the magnitude of one method, then run all rates; no curves."""
    data = _load(task.dataset, settings.data_dir)
    seeds = range(min(2, settings.seeds) if settings.quick else settings.seeds)
    if len(contender.magnitudes) == 1 or settings.quick:
        magnitude = contender.magnitudes[len(contender.magnitudes) // 2]
    else:
        magnitude = choose_magnitude(task, base, contender, data, TUNING_SEEDS)
    cell = Cell(task, base, contender, magnitude)
    frames = [run_rate(cell, rate, data, seeds) for rate in task.rates[base]]
    return pd.concat(frames, ignore_index=True), pd.DataFrame()


@cache
def _load(dataset: str, data_dir: Path | None) -> Dataset:
    return load_dataset(dataset, data_dir=data_dir)


def _optimizer(cell: Cell, model: ReplicaMLP, rate: float) -> torch.optim.Optimizer:
    decay = cell.magnitude if cell.contender.decays else 0.0
    if cell.base is Base.SGD:
        return torch.optim.SGD(model.parameters(), lr=rate, momentum=0.9, weight_decay=decay)
    return torch.optim.AdamW(model.parameters(), lr=rate, weight_decay=decay)


def _frame(cell: Cell, rate: float, seeds: Sequence[int], history: History) -> pd.DataFrame:
    """A row per seed; the clients of a seed have the same weights when they are evaluated."""
    clients, many = cell.task.clients, len(seeds)
    loss = history.loss["validation"][:, ::clients]  # (evaluations, S)
    accuracy = history.accuracy["test"][:, ::clients]
    finite = np.where(np.isfinite(loss), loss, np.inf)
    best = finite.argmin(axis=0)
    train_loss = history.train_loss.reshape(len(history.train_loss), many, clients).mean(axis=2)
    return pd.DataFrame(
        {
            "task": cell.task.name,
            "optimizer": str(cell.base),
            "method": cell.contender.name,
            "magnitude": cell.magnitude,
            "rate": rate,
            "seed": list(seeds),
            "initial": loss[0],
            "loss": loss[-1],
            "best_loss": finite.min(axis=0),
            "accuracy": accuracy[-1],
            "best_accuracy": accuracy[best, np.arange(many)],
            "oscillation": oscillation(train_loss),
            "gradient_evaluations": history.gradient_evaluations * clients,
            "seconds": history.seconds / many,
        }
    )


def _shortened(task: Task) -> Task:
    """The short form: AdamW, three rates, two evaluations."""
    rates = {Base.ADAMW: task.rates[Base.ADAMW][1:4]}
    return replace(task, bases=(Base.ADAMW,), epochs=2, rates=rates)


_NOTES = (
    "loss: validation, last step, at the best rate, mean over seeds; difference from none paired "
    "by seed; sd over seeds; sensitivity over all rates against the own best, common sensitivity "
    "against the best of all methods of the task and optimizer; 95 % intervals.",
    "early stopping looks at the validation losses it is judged by: its loss and sensitivity are "
    "optimistic, its accuracy is not. sam and asam pay two gradients a step; no row has been given "
    "more steps for paying one.",
)

EXPERIMENT = Experiment(
    name="learning-rate",
    question="do perturbations make training less sensitive to the learning rate?",
    minutes=60,
    parts=parts,
    grids=lambda _: {
        "rates": {str(base): rates for base, rates in HALF_DECADES.items()},
        "magnitudes": {one.name: one.magnitudes for one in CONTENDERS},
        "tuning seeds": TUNING_SEEDS,
        "tasks": {
            task.name: f"{task.hidden} hidden, batch {task.batch_size}, {task.epochs} epochs"
            for task in TASKS
        },
    },
    summarise=summarise,
    notes=lambda *_: _NOTES,
)
