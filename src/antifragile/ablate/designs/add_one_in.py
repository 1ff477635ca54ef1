"""Add-one-in: everything ablated, and everything but one component."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import pandas as pd

from antifragile.ablate.designs.base import (
    BASELINE,
    CONTRIBUTION,
    Configuration,
    DesignTraits,
    Request,
    Values,
    differences,
    frame,
    missing_runs,
)


@dataclass(frozen=True, kw_only=True)
class AddOneIn:
    """Everything ablated, and everything but one component."""

    traits: ClassVar[DesignTraits] = DesignTraits(most_components=200)

    components: Sequence[str]
    seeds: Sequence[int]

    def wanted(self, values: Values) -> list[Request]:
        """The baseline, for scale, and the k + 1 others."""
        return missing_runs([BASELINE, *self._alone.values(), self._nothing], self.seeds, values)

    def contrasts(self, values: Values) -> pd.DataFrame:
        """The gain from each component in the model that has lost all of them."""
        rows = []
        for component, alone in self._alone.items():
            rows += differences(CONTRIBUTION, {component: self._nothing}, alone, self.seeds, values)
        return frame(rows)

    @property
    def _nothing(self) -> Configuration:
        return frozenset(self.components)

    @property
    def _alone(self) -> dict[str, Configuration]:
        return {c: self._nothing - {c} for c in self.components}

    def notes(self, values: Values, table: pd.DataFrame) -> tuple[str, ...]:
        """The model that contributions are measured from."""
        return ("Add-one-in: contributions to the model without any of the components.",)
