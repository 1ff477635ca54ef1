"""The experiments on perturbed equations, by name."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from antifragile.errors import UsageError, nearest
from benchmarks.perturbation.experiments import (
    anti_pgd,
    deep_mnist,
    learning_rate,
    octopus,
    posterior,
)
from benchmarks.perturbation.records import BenchResult, BenchSettings


@dataclass(frozen=True, kw_only=True)
class Experiment:
    """An experiment that can be run by name.

    Args:
        name: The name on the command line.
        question: The question it answers, in a line.
        minutes: Processor minutes of the full form with 10 seeds, about.
        run: The function that runs it.
    """

    name: str
    question: str
    minutes: float
    run: Callable[[BenchSettings], BenchResult]


_ALL = (
    Experiment(
        name=anti_pgd.NAME,
        question="does correlated noise find flat minima where plain noise does not?",
        minutes=2,
        run=anti_pgd.run_anti_pgd,
    ),
    Experiment(
        name=octopus.NAME,
        question="how many iterations pass a chain of saddles?",
        minutes=2,
        run=octopus.run_octopus,
    ),
    Experiment(
        name=posterior.NAME,
        question="do SGLD and pSGLD sample the posterior they should?",
        minutes=1,
        run=posterior.run_posterior,
    ),
    Experiment(
        name=deep_mnist.NAME,
        question="which noise starts a deep network that cannot start by itself?",
        minutes=60,
        run=deep_mnist.run_deep_mnist,
    ),
    Experiment(
        name=learning_rate.NAME,
        question="do perturbations make training less sensitive to the learning rate?",
        minutes=60,
        run=learning_rate.run_learning_rate,
    ),
)
EXPERIMENTS: Mapping[str, Experiment] = {one.name: one for one in _ALL}


def run_experiment(name: str, settings: BenchSettings) -> BenchResult:
    """Run an experiment by its name.

    Raises:
        UsageError: There is none of that name.
    """
    if name not in EXPERIMENTS:
        raise UsageError(f"unknown experiment {name!r}; {nearest(name, EXPERIMENTS)}")
    return EXPERIMENTS[name].run(settings)
