"""The comparison of two studies as a table, with notes on the limits of its tests."""

from __future__ import annotations

import pandas as pd

from antifragile.analysis.inference.two_studies import NO_DIFFERENCE, family_of_cells
from antifragile.analysis.summary import Measure
from antifragile.report.table import Table, frame_table, number_columns, text_columns


def comparison_table(comparison: pd.DataFrame, name: str, other: str, measure: Measure) -> Table:
    """Build the table.

    Args:
        comparison: The result of `compare_studies`.
        name: The first study's name.
        other: The other one's.
        measure: The accuracy that was compared.
    """
    headings = {"n_other": "n (other)", "mean_other": "mean (other)", "p_holm": "p (Holm)"}
    return frame_table(
        comparison.rename(columns=headings),
        title=f"{name} against {other}: {measure} accuracy by cell",
        columns=[
            *text_columns("architecture", "mode"),
            *number_columns("n", "mean", "n (other)", "mean (other)", "difference", "low", "high"),
            *number_columns("p (Holm)", decimals=4),
            *text_columns("verdict"),
        ],
        notes=comparison_notes(comparison),
    )


def comparison_notes(comparison: pd.DataFrame) -> list[str]:
    """Notes on the cells that differ, those expected by chance, and the smallest p."""
    total = len(comparison)
    if not total:
        return ["The two studies have no cell in common."]
    outside = int(((comparison["low"] > 0) | (comparison["high"] < 0)).sum())
    differing = int((comparison["verdict"] != NO_DIFFERENCE).sum())
    known = int(comparison["low"].notna().sum())
    family = family_of_cells(comparison)
    few = "" if family.can_show else "; with so few trials no corrected difference can be found"
    return [
        f"{total} cells in common; {differing} differ after Holm's correction; the 95 % interval "
        f"excludes zero in {outside} of {known}, chance alone would give about "
        f"{0.05 * known:.0f}.",
        f"Difference: first minus other, percentage points, Welch's 95 % interval; permutation "
        f"test; smallest attainable p {family.smallest_p:.2g}, first threshold "
        f"{family.first_threshold:.2g}{few}.",
    ]
