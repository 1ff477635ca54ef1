"""Stage 11: what strings the stages together. The public names are imported when first used."""

from __future__ import annotations

from typing import TYPE_CHECKING

from antifragile._lazy import importer

if TYPE_CHECKING:
    from antifragile.workflows.perturb_experiments import (
        EXPERIMENTS,
        Experiment,
        run_experiment,
    )
    from antifragile.workflows.perturb_records import BenchResult, BenchSettings

__all__ = ["EXPERIMENTS", "BenchResult", "BenchSettings", "Experiment", "run_experiment"]

__getattr__ = importer(
    __name__,
    {
        "perturb_experiments": ("EXPERIMENTS", "Experiment", "run_experiment"),
        "perturb_records": ("BenchResult", "BenchSettings"),
    },
)
