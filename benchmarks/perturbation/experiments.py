"""The experiments on perturbed equations, by name."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from antifragile.errors import UsageError, nearest
from benchmarks.perturbation import anti_pgd as perturb_anti_pgd
from benchmarks.perturbation import deep_mnist as perturb_deep_mnist
from benchmarks.perturbation import learning_rate as perturb_learning_rate
from benchmarks.perturbation import posterior as perturb_posterior
from benchmarks.perturbation import saddles as perturb_saddles
from benchmarks.perturbation.records import BenchResult, BenchSettings


@dataclass(frozen=True, kw_only=True)
class Experiment:
    """One experiment before it is run.

    Args:
        name: What users write.
        question: What it answers, in a line.
        minutes: Processor minutes of the full form with 10 seeds, about.
        run: Does it.
    """

    name: str
    question: str
    minutes: float
    run: Callable[[BenchSettings], BenchResult]


_ALL = (
    Experiment(
        name=perturb_anti_pgd.NAME,
        question="does correlated noise find flat minima where plain noise does not?",
        minutes=2,
        run=perturb_anti_pgd.run_anti_pgd,
    ),
    Experiment(
        name=perturb_saddles.NAME,
        question="how many iterations pass a chain of saddles?",
        minutes=2,
        run=perturb_saddles.run_octopus,
    ),
    Experiment(
        name=perturb_posterior.NAME,
        question="do SGLD and pSGLD sample the posterior they should?",
        minutes=1,
        run=perturb_posterior.run_posterior,
    ),
    Experiment(
        name=perturb_deep_mnist.NAME,
        question="which noise starts a deep network that cannot start by itself?",
        minutes=60,
        run=perturb_deep_mnist.run_deep_mnist,
    ),
    Experiment(
        name=perturb_learning_rate.NAME,
        question="do perturbations make training less sensitive to the learning rate?",
        minutes=60,
        run=perturb_learning_rate.run_learning_rate,
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
