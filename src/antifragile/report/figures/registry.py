"""All figures by name: those that the modules of this folder offer as ``FIGURES``.

A figure is a function of a survey. What else it takes are its further parameters: ``targets``
(architectures), ``records`` (curves from elsewhere).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from inspect import signature

import pandas as pd
from matplotlib.figure import Figure

from antifragile.errors import UsageError
from antifragile.report.figures import curves, damage, maps
from antifragile.report.figures.names import FigureName
from antifragile.report.survey import Survey

FIGURES: dict[FigureName, Callable[..., Figure]] = {
    **maps.FIGURES,
    **curves.FIGURES,
    **damage.FIGURES,
}


def draw_figure(
    name: FigureName,
    survey: Survey,
    *,
    targets: Sequence[str] = (),
    records: pd.DataFrame | None = None,
) -> Figure:
    """Draw a figure by its name.

    Args:
        name: Name of the figure.
        survey: The numbers.
        targets: Architectures of ``convergence`` and ``robustness``; one per regime by default.
        records: Curves from elsewhere, for a source without meta-loop records.

    Raises:
        UsageError: Nothing to draw, or an option that this figure does not take.
    """
    takes = {other: signature(draw).parameters for other, draw in FIGURES.items()}
    if targets and "targets" not in takes[name]:
        chosen = " and ".join(other for other in FIGURES if "targets" in takes[other])
        raise UsageError(f"--targets chooses the rows of {chosen}; {name} shows everything.")
    if records is not None and "records" not in takes[name]:
        raise UsageError(f"--convergence gives curves; {name} is drawn from the trials alone.")
    options = {"survey": survey, "targets": targets, "records": records}
    return FIGURES[name](**{option: options[option] for option in takes[name]})
