"""Names of the figures, and the record by which a module offers the figures it draws.

Nothing heavy is imported here, so that the command line can list the names at once.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from matplotlib.figure import Figure


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


@dataclass(frozen=True)
class FigureKind:
    """A figure that a module offers.

    Args:
        draw: Called as ``draw(survey, **options)``.
        takes: Options it knows: ``targets`` (architectures), ``records`` (curves from elsewhere).
    """

    draw: Callable[..., Figure]
    takes: tuple[str, ...] = ()
