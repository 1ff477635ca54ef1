"""Leave-one-out: the baseline, and each component ablated alone; with further seeds where open."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import ClassVar

import pandas as pd

from antifragile.ablate.designs.base import (
    BASELINE,
    CONTRIBUTION,
    DesignTraits,
    Request,
    Values,
    differences,
    frame,
    missing_runs,
)
from antifragile.analysis.inference.paired import Judgement, PairedVerdict, judge_contrasts


@dataclass(frozen=True, kw_only=True)
class LeaveOneOut:
    """The baseline, and each component ablated alone.

    Args:
        components: Names.
        seeds: The pairs, in the order in which they are spent.
        looks: Cumulative numbers of seeds at which the data are looked at; after each look only
            components that are still open get more. One number: no adaptation.
        judgement: By which a component counts as settled; its ``looks`` must agree.
    """

    traits: ClassVar[DesignTraits] = DesignTraits(most_components=10_000, row_components=1)

    components: Sequence[str]
    seeds: Sequence[int]
    looks: Sequence[int] = ()
    judgement: Judgement = field(default_factory=Judgement)

    def __post_init__(self) -> None:
        assert self.judgement.looks >= max(1, len(self.looks))

    def wanted(self, values: Values) -> list[Request]:
        """All seeds up to the first look, then those of open components up to the next."""
        open_ones: Sequence[str] = self.components
        for n in self.looks or (len(self.seeds),):
            asked = [BASELINE, *(frozenset([c]) for c in open_ones)]
            if missing := missing_runs(asked, self.seeds[:n], values):
                return missing
            if not (open_ones := self._open_after(n, values)):
                break
        return []

    def contrasts(self, values: Values) -> pd.DataFrame:
        """Each component's contribution."""
        singles = {c: frozenset([c]) for c in self.components}
        return frame(differences(CONTRIBUTION, singles, BASELINE, self.seeds, values))

    def _open_after(self, n: int, values: Values) -> list[str]:
        """Judged on the seeds of that look alone, so that stopping half-way adds no look."""
        contrasts = self.contrasts(values)
        seen = contrasts[contrasts["seed"].isin(list(self.seeds[:n]))]
        table = judge_contrasts(seen, self.judgement).table
        still = set(table.loc[table["verdict"] == PairedVerdict.OPEN, "target"])
        return [component for component in self.components if component in still]

    def notes(self, values: Values, table: pd.DataFrame) -> tuple[str, ...]:
        """Looks, if there are several."""
        if len(self.looks) < 2:
            return ()
        listed = ", ".join(map(str, self.looks))
        return (
            f"Adaptive: looked at after {listed} seeds; every p counts {self.judgement.looks} "
            "times and intervals are widened likewise, so that stopping early is paid for.",
        )
