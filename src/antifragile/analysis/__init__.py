"""Stage 10: frames in, frames out. The public names are imported when first used."""

from __future__ import annotations

from typing import TYPE_CHECKING

from antifragile._lazy import importer

if TYPE_CHECKING:
    from antifragile.analysis.capacity import SizeAdvice, SizeError, advise_size, harm_of_ablation
    from antifragile.analysis.classification import classify_source, modes_left_out
    from antifragile.analysis.comparisons import Comparisons, FamilyScope, compare_with_control
    from antifragile.analysis.convergence import (
        convergence_bands,
        curves,
        harm_per_ablation,
        peak_times,
        read_curves_csv,
        still_improving,
    )
    from antifragile.analysis.effects import cells_with_intervals
    from antifragile.analysis.families import Family
    from antifragile.analysis.frames import (
        meta_loops_frame,
        read_trials_csv,
        robustness_frame,
        trials_frame,
    )
    from antifragile.analysis.harm import (
        ablations,
        harm_by_cell,
        harm_of_architectures,
        has_harm,
    )
    from antifragile.analysis.peak_bias import optimism, trial_gaps
    from antifragile.analysis.posterior import classify_by_posterior
    from antifragile.analysis.regimes import REGIMES, Regime, Rules, Verdict
    from antifragile.analysis.regimes_complete import classify_complete
    from antifragile.analysis.regimes_paper import classify_by_paper
    from antifragile.analysis.robustness import robustness_curves, robustness_differences
    from antifragile.analysis.source import Source, open_source
    from antifragile.analysis.summary import Measure, summarise

__all__ = [
    "REGIMES",
    "Comparisons",
    "Family",
    "FamilyScope",
    "Measure",
    "Regime",
    "Rules",
    "SizeAdvice",
    "SizeError",
    "Source",
    "Verdict",
    "ablations",
    "advise_size",
    "cells_with_intervals",
    "classify_by_paper",
    "classify_by_posterior",
    "classify_complete",
    "classify_source",
    "compare_with_control",
    "convergence_bands",
    "curves",
    "harm_by_cell",
    "harm_of_ablation",
    "harm_of_architectures",
    "harm_per_ablation",
    "has_harm",
    "meta_loops_frame",
    "modes_left_out",
    "open_source",
    "optimism",
    "peak_times",
    "read_curves_csv",
    "read_trials_csv",
    "robustness_curves",
    "robustness_differences",
    "robustness_frame",
    "still_improving",
    "summarise",
    "trial_gaps",
    "trials_frame",
]

__getattr__ = importer(
    __name__,
    {
        "capacity": (
            "SizeAdvice",
            "SizeError",
            "advise_size",
            "harm_of_ablation",
        ),
        "classification": ("classify_source", "modes_left_out"),
        "comparisons": (
            "Comparisons",
            "FamilyScope",
            "compare_with_control",
        ),
        "convergence": (
            "convergence_bands",
            "curves",
            "harm_per_ablation",
            "peak_times",
            "read_curves_csv",
            "still_improving",
        ),
        "effects": ("cells_with_intervals",),
        "families": ("Family",),
        "frames": (
            "meta_loops_frame",
            "read_trials_csv",
            "trials_frame",
            "robustness_frame",
        ),
        "harm": (
            "ablations",
            "harm_by_cell",
            "harm_of_architectures",
            "has_harm",
        ),
        "peak_bias": (
            "optimism",
            "trial_gaps",
        ),
        "posterior": ("classify_by_posterior",),
        "regimes": (
            "REGIMES",
            "Regime",
            "Rules",
            "Verdict",
        ),
        "regimes_complete": ("classify_complete",),
        "regimes_paper": ("classify_by_paper",),
        "robustness": (
            "robustness_curves",
            "robustness_differences",
        ),
        "source": (
            "Source",
            "open_source",
        ),
        "summary": (
            "Measure",
            "summarise",
        ),
    },
)
