"""The interface of a design: which combinations of ablations a study runs, and what they answer.

A *configuration* is the set of components that are ablated in one run; the empty one is the
baseline. A design is a pure function from the values known so far to the runs still wanted, so a
study that was stopped, or that decides as it goes (racing, further seeds), goes on by asking again.
Each design has a file of its own and a line in `registry.py`.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import ClassVar, Protocol

import pandas as pd

from antifragile.analysis.inference.paired import CONTRAST_COLUMNS

Configuration = frozenset[str]
Request = tuple[Configuration, int]
Values = Mapping[Request, float]
"""Metric by configuration and seed, higher is better; NaN for a run that failed, minus infinity (or
the worst number, `DesignTraits.averages_runs`) for one that diverged."""

BASELINE: Configuration = frozenset()
CONTRIBUTION, INTERACTION, JOINT = "contribution", "interaction", "joint contribution"
PAIR = " & "


@dataclass(frozen=True, kw_only=True)
class DesignTraits:
    """Facts about a design that the study and its report go by.

    Args:
        most_components: The largest number of components whose runs are affordable.
        row_components: Components that one row of the report is about, if a row can be run again
            without the others; 0 where all combinations belong together. Ablations of such a
            design must not clash, which is checked before anything runs.
        averages_runs: Whether a contrast is a mean over so many runs that one that diverged would
            leave no number in any row.
        keeps_order: Whether rows stand in the design's own order, not by size.
        question_notes: A sentence under the table of a question, by question.
    """

    most_components: int
    row_components: int = 0
    averages_runs: bool = False
    keeps_order: bool = False
    question_notes: Mapping[str, str] = field(default_factory=dict)


class AblationDesign(Protocol):
    """A design: asks for runs, and turns them into contrasts."""

    traits: ClassVar[DesignTraits]

    def __init__(self, *, components: Sequence[str], seeds: Sequence[int]) -> None: ...

    def wanted(self, values: Values) -> list[Request]:
        """Runs to add to these; empty when the design is complete."""
        ...

    def contrasts(self, values: Values) -> pd.DataFrame:
        """Columns question, target, seed, value, from the runs there are."""
        ...

    def notes(self, values: Values, table: pd.DataFrame) -> tuple[str, ...]:
        """Sentences that a reader of this design's numbers must know.

        Args:
            values: The runs there are.
            table: The judged contrasts, see `analysis.inference.paired.Judged`.
        """
        ...


def frame(rows: Iterable[tuple[str, str, int, float]]) -> pd.DataFrame:
    """Contrasts as a frame."""
    return pd.DataFrame(list(rows), columns=list(CONTRAST_COLUMNS))


def missing_runs(
    configurations: Iterable[Configuration], seeds: Sequence[int], values: Values
) -> list[Request]:
    """Those that have no value yet."""
    return [(c, s) for c in configurations for s in seeds if (c, s) not in values]


def known_values(
    configurations: Sequence[Configuration], seed: int, values: Values
) -> list[float] | None:
    """The values of one seed, or None while one of them is missing."""
    if any((c, seed) not in values for c in configurations):
        return None
    return [values[c, seed] for c in configurations]


def differences(
    question: str,
    configurations: Mapping[str, Configuration],
    reference: Configuration,
    seeds: Sequence[int],
    values: Values,
) -> list[tuple[str, str, int, float]]:
    """Reference minus configuration, where both ran."""
    return [
        (question, target, seed, pair[0] - pair[1])
        for target, configuration in configurations.items()
        for seed in seeds
        if (pair := known_values((reference, configuration), seed, values)) is not None
    ]
