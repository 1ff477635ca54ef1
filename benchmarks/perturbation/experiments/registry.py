"""The experiments on perturbed equations, by name."""

from __future__ import annotations

from collections.abc import Mapping

from antifragile.errors import UsageError, nearest
from benchmarks.perturbation.experiments import (
    anti_pgd,
    deep_mnist,
    learning_rate,
    octopus,
    posterior,
)
from benchmarks.perturbation.parts import Experiment
from benchmarks.perturbation.records import BenchResult, BenchSettings

EXPERIMENTS: Mapping[str, Experiment] = {
    module.EXPERIMENT.name: module.EXPERIMENT
    for module in (anti_pgd, octopus, posterior, deep_mnist, learning_rate)
}


def run_experiment(name: str, settings: BenchSettings) -> BenchResult:
    """Run an experiment by its name.

    Raises:
        UsageError: There is none of that name.
    """
    if name not in EXPERIMENTS:
        raise UsageError(f"unknown experiment {name!r}; {nearest(name, EXPERIMENTS)}")
    return EXPERIMENTS[name].run(settings)
