"""All figures by name: those that the modules of this folder offer as ``FIGURES``."""

from __future__ import annotations

from collections.abc import Sequence

import pandas as pd
from matplotlib.figure import Figure

from antifragile.errors import UsageError
from antifragile.report.figures import curves, damage, maps
from antifragile.report.figures.names import FigureName
from antifragile.report.survey import Survey

FIGURES = maps.FIGURES | curves.FIGURES | damage.FIGURES


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
    kind = FIGURES[name]
    if targets and "targets" not in kind.takes:
        chosen = " and ".join(other for other, kind in FIGURES.items() if "targets" in kind.takes)
        raise UsageError(f"--targets chooses the rows of {chosen}; {name} shows everything.")
    if records is not None and "records" not in kind.takes:
        raise UsageError(f"--convergence gives curves; {name} is drawn from the trials alone.")
    options = {"targets": targets, "records": records}
    return kind.draw(survey, **{option: options[option] for option in kind.takes})
