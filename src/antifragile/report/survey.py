"""The numbers that tables, figures and page start from: cells and landscape of a source.

`survey` reads a `Source` once and hands on frozen results; the tables, the figures and the page
only arrange them. Which rules name the regimes is an argument.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import pandas as pd

from antifragile.analysis.inference.effects import cells_with_intervals
from antifragile.analysis.landscape import landscape_frame
from antifragile.analysis.regimes.classification import classify_source
from antifragile.analysis.regimes.words import REGIMES, RegimeRules
from antifragile.analysis.source import Source, input_sizes, network_of
from antifragile.analysis.summary import Measure, measured
from antifragile.config.modes import mode_names

MEASURE_WORDS = {measure: measure.column.replace("_", " ") for measure in Measure}
INTERVAL = 0.95  # coverage of every interval shown


@dataclass(frozen=True, kw_only=True, eq=False)
class Survey:
    """Cells and landscape of a source, by one measure and one set of rules.

    Args:
        source: The source that was read.
        measure: The accuracy of a trial that is summarised.
        cells: One row per architecture and mode: n, mean, sd (population), sample_sd, min, max,
            low and high (interval of the mean, NaN below two trials).
        rules: The rules that named the regimes.
        landscape: One row per architecture, as `landscape_frame` describes it.
    """

    source: Source
    measure: Measure
    cells: pd.DataFrame
    rules: RegimeRules
    landscape: pd.DataFrame

    @property
    def modes(self) -> tuple[str, ...]:
        """The modes that occur: registered ones in their order, then others."""
        return order_modes(self.cells["mode"])

    @property
    def n_label(self) -> str:
        """Trials per cell, as in ``"10"`` or ``"3 to 5"``; ``"0"`` without any."""
        return range_label(self.cells["n"])


def survey(
    source: Source,
    measure: Measure = Measure.PEAK,
    *,
    rules: RegimeRules = RegimeRules.PAPER,
) -> Survey:
    """Summarise a source, judge its architectures and place them on the landscape.

    Args:
        source: Trials, possibly none.
        measure: The accuracy that is summarised.
        rules: The rules that name the regimes.

    Raises:
        DataError: The source does not have this measure.
        ArchitectureError: It names something that is no architecture.
    """
    trials = measured(source.trials, measure).dropna(subset=[measure.column])
    cells = cells_with_intervals(trials, measure, confidence=INTERVAL)
    verdicts = classify_source(source, rules=rules, measure=measure) if len(cells) else {}
    return Survey(
        source=source,
        measure=measure,
        cells=cells,
        rules=rules,
        landscape=landscape_frame(
            cells, verdicts, sizes=input_sizes(source), network=network_of(source)
        ),
    )


def available_measures(source: Source) -> tuple[Measure, ...]:
    """The measures that a source has numbers for; all of them when it has no trial yet."""
    if source.trials.empty:
        return tuple(Measure)
    return tuple(m for m in Measure if m.column in source.trials.columns)


def rows_of(frame: pd.DataFrame) -> Iterator[Any]:
    """The rows as tuples with names; their types are those of the columns."""
    return iter(frame.itertuples(index=False))


def order_modes(modes: pd.Series) -> tuple[str, ...]:
    """Each mode once: registered ones in their order, then others as they come."""
    found = [str(mode) for mode in modes.unique()]
    known = [mode for mode in mode_names() if mode in found]
    return tuple(known + [mode for mode in found if mode not in known])


def order_regimes(labels: pd.Series) -> list[str]:
    """Each label once: the paper's four in its order, then others."""
    found = set(labels) - {""}
    known = [str(regime) for regime in REGIMES if str(regime) in found]
    return known + sorted(found - set(known))


def range_label(counts: pd.Series) -> str:
    """``"10"`` when all are equal, else ``"3 to 10"``; ``"0"`` when there is none."""
    if counts.empty:
        return "0"
    low, high = int(counts.min()), int(counts.max())
    return str(low) if low == high else f"{low} to {high}"
