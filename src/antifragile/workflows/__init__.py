"""Stage 11: what strings the stages together; so far, the experiments on perturbed equations."""

from antifragile.workflows.perturb_experiments import (
    EXPERIMENTS,
    Experiment,
    run_experiment,
)
from antifragile.workflows.perturb_records import BenchResult, BenchSettings

__all__ = ["EXPERIMENTS", "BenchResult", "BenchSettings", "Experiment", "run_experiment"]
