"""The figures by name."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from enum import StrEnum

import pandas as pd
from matplotlib.figure import Figure

from antifragile.errors import UsageError
from antifragile.report.figures import curves, damage, maps
from antifragile.report.survey import Survey


class FigureName(StrEnum):
    """What can be drawn."""

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


_MAPS: Mapping[FigureName, Callable[[Survey], Figure]] = {
    FigureName.DESIGN_SPACE: maps.design_space,
    FigureName.PARAMETER_MATCHING: maps.parameter_matching,
    FigureName.REGIMES: maps.regimes,
    FigureName.WINNING_STRATEGY: maps.winning_strategy,
    FigureName.BASELINE_PERFORMANCE: maps.baseline_performance,
    FigureName.ABLATION_EFFECTS: maps.ablation_effects,
    FigureName.INSTABILITY: maps.instability,
}


_DAMAGE = (FigureName.ROBUSTNESS, FigureName.HARM)
_WITH_TARGETS = (FigureName.CONVERGENCE, FigureName.ROBUSTNESS)


def draw_figure(
    name: FigureName,
    survey: Survey,
    *,
    targets: Sequence[str] = (),
    records: pd.DataFrame | None = None,
) -> Figure:
    """Draw a figure by its name.

    Args:
        name: Which.
        survey: The numbers.
        targets: Architectures of ``convergence`` and ``robustness``; one per regime by default.
        records: Curves from elsewhere, for a source without meta-loop records.

    Raises:
        UsageError: Nothing to draw, or an argument that this figure does not take.
    """
    if targets and name not in _WITH_TARGETS:
        raise UsageError(
            f"--targets chooses the rows of {' and '.join(_WITH_TARGETS)}; {name} shows everything."
        )
    if records is not None and (name in _MAPS or name in _DAMAGE):
        raise UsageError(f"--convergence gives curves; {name} is drawn from the trials alone.")
    if name is FigureName.CONVERGENCE:
        return curves.convergence(survey, records, targets)
    if name is FigureName.LATE_BREAKTHROUGHS:
        return curves.late_breakthroughs(survey, records)
    if name is FigureName.ROBUSTNESS:
        return damage.robustness(survey, targets)
    if name is FigureName.HARM:
        return damage.harm(survey)
    return _MAPS[name](survey)
