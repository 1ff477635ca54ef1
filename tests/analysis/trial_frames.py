"""Hand-made trials: as many architectures, modes and trials as a test spells out."""

from __future__ import annotations

import pandas as pd

from antifragile.analysis.source import Source

MODES = ("none", "decay", "dropout", "full", "hidden", "output")


def made_trials(values: dict[tuple[str, str], list[float]]) -> pd.DataFrame:
    """One row per value of each (architecture, mode), numbered from 1."""
    return pd.DataFrame(
        [
            {
                "architecture": architecture,
                "mode": mode,
                "trial": number,
                "peak_validation_accuracy": value,
            }
            for (architecture, mode), cell in values.items()
            for number, value in enumerate(cell, start=1)
        ],
        columns=["architecture", "mode", "trial", "peak_validation_accuracy"],
    )


def made_source(
    values: dict[tuple[str, str], list[float]], *, paired: bool = False, zero_r: float = 11.02
) -> Source:
    """The same as a source."""
    return Source(
        name="made", trials=made_trials(values), meta_loops=None, zero_r=zero_r, paired=paired
    )
