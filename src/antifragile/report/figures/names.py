"""Names of the figures; nothing heavy is imported, so that the command line lists them at once."""

from __future__ import annotations

from enum import StrEnum


class FigureName(StrEnum):
    """Figures that can be drawn."""

    DESIGN_SPACE = "design-space"
    PARAMETER_MATCHING = "parameter-matching"
    REGIMES = "regimes"
    WINNING_STRATEGY = "winning-strategy"
    BASELINE_PERFORMANCE = "baseline-performance"
    ABLATION_EFFECTS = "ablation-effects"
    INSTABILITY = "instability"
    CONVERGENCE = "convergence"
    LATE_BREAKTHROUGHS = "late-breakthroughs"
    ROBUSTNESS = "robustness"
    HARM = "harm"
