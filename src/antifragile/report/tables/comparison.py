"""Two studies cell by cell: does one repeat what the other found?

Cells that both have are compared as independent samples: Welch's interval of the difference in
means, and a permutation test with Holm's correction over all cells.
"""

from __future__ import annotations

from collections import defaultdict

import numpy as np
import pandas as pd
from statsmodels.stats.multitest import multipletests

from antifragile.analysis.inference.effects import two_sample_effect
from antifragile.analysis.inference.permutation import Design, two_sample_p
from antifragile.analysis.regimes.words import TOLERANCE
from antifragile.analysis.summary import Measure
from antifragile.report.survey import Survey, rows_of
from antifragile.report.table import Cell, Column, Table
from antifragile.report.tables.beaten import ALPHA

_COLUMNS = (
    *("architecture", "mode", "n", "mean", "n_other", "mean_other"),
    *("difference", "low", "high", "p", "p_holm", "verdict"),
)


def compare_surveys(survey: Survey, other: Survey) -> pd.DataFrame:
    """Compare every cell that both studies have, by the first one's measure.

    Returns:
        Columns architecture, mode, n, mean, n_other, mean_other, difference (first minus other),
        low, high (95 %, NaN below two trials), p, p_holm, verdict (higher, lower, no difference
        shown).
    """
    mine, theirs = _values(survey), _values(other)
    common = [key for key in mine if key in theirs]
    rows = []
    for (architecture, mode), p in _p_values(mine, theirs, common).items():
        a, b = mine[architecture, mode], theirs[architecture, mode]
        effect = two_sample_effect(a, b, margin=TOLERANCE)
        rows.append(
            {
                "architecture": architecture,
                "mode": mode,
                "n": len(a),
                "mean": a.mean(),
                "n_other": len(b),
                "mean_other": b.mean(),
                "difference": effect.difference,
                "low": effect.low,
                "high": effect.high,
                "p": p,
            }
        )
    frame = pd.DataFrame(rows, columns=list(_COLUMNS[:10]))
    rejected, holm = np.zeros(len(frame), dtype=bool), frame["p"]
    if len(frame):
        rejected, holm = multipletests(frame["p"], alpha=ALPHA, method="holm")[:2]
    frame["p_holm"] = holm
    sides = np.where(frame["difference"] > 0, "higher", "lower")
    frame["verdict"] = np.where(rejected, sides, "no difference shown")
    return frame


def _values(survey: Survey) -> dict[tuple[str, str], np.ndarray]:
    if survey.source.trials.empty:
        return {}
    column = survey.measure.column
    trials = survey.source.trials.dropna(subset=[column])
    grouped = trials.groupby(["architecture", "mode"], sort=False)[column]
    return {(str(key[0]), str(key[1])): part.to_numpy(dtype=float) for key, part in grouped}


def _p_values(
    mine: dict[tuple[str, str], np.ndarray],
    theirs: dict[tuple[str, str], np.ndarray],
    common: list[tuple[str, str]],
) -> dict[tuple[str, str], float]:
    """In the order of ``common``; 1 where a side has a single trial."""
    answers = dict.fromkeys(common, 1.0)
    batches: dict[Design, list[tuple[str, str]]] = defaultdict(list)
    for key in common:
        n, m = len(mine[key]), len(theirs[key])
        if min(n, m) > 1:
            batches[Design(n=n, n_control=m, paired=False)].append(key)
    for design, keys in batches.items():
        a, b = np.stack([mine[k] for k in keys]), np.stack([theirs[k] for k in keys])
        answers.update(zip(keys, map(float, two_sample_p(a, b, design=design)), strict=True))
    return answers


def comparison_table(comparison: pd.DataFrame, name: str, other: str, measure: Measure) -> Table:
    """The comparison as a table with what it can and cannot show."""
    rows: list[list[Cell]] = [
        [
            *(r.architecture, r.mode, r.n, r.mean, r.n_other, r.mean_other),
            *(r.difference, r.low, r.high, r.p_holm, r.verdict),
        ]
        for r in rows_of(comparison)
    ]
    return Table(
        title=f"{name} against {other}: {measure} accuracy by cell",
        columns=[
            Column(name="architecture", is_text=True),
            Column(name="mode", is_text=True),
            Column(name="n"),
            Column(name="mean"),
            Column(name="n (other)"),
            Column(name="mean (other)"),
            Column(name="difference"),
            Column(name="low"),
            Column(name="high"),
            Column(name="p (Holm)", decimals=4),
            Column(name="verdict", is_text=True),
        ],
        rows=rows,
        notes=comparison_notes(comparison),
    )


def comparison_notes(comparison: pd.DataFrame) -> list[str]:
    """How many cells differ, what chance alone would give, and what could have been found."""
    total = len(comparison)
    if not total:
        return ["The two studies have no cell in common."]
    outside = int(((comparison["low"] > 0) | (comparison["high"] < 0)).sum())
    differing = int((comparison["verdict"] != "no difference shown").sum())
    known = int(comparison["low"].notna().sum())
    least = min(
        Design(n=r.n, n_control=r.n_other, paired=False).smallest_p for r in rows_of(comparison)
    )
    first = ALPHA / total
    shown = "" if least <= first else "; with so few trials no corrected difference can be found"
    return [
        f"{total} cells in common; {differing} differ after Holm's correction; the 95 % interval "
        f"excludes zero in {outside} of {known}, chance alone would give about "
        f"{0.05 * known:.0f}.",
        f"Difference: first minus other, percentage points, Welch's 95 % interval; permutation "
        f"test; smallest attainable p {least:.2g}, first threshold {first:.2g}{shown}.",
    ]
