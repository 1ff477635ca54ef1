"""A greedy ablation path, with racing: from the whole model down, always the cheapest component.

    ablated = {}
    while components are left:
        candidates = components not ablated
        for seeds in growing blocks:
            run ablated + {c} for every candidate c still in the race
            drop candidates that are worse than the leader by a paired t test
        ablate the leader

Racing spends few seeds on candidates that are plainly expensive; the leader and its rivals get
all. On an additive model the steps are the components' contributions in ascending order. The
leader of a step is the best of several noisy means, so its step looks a little cheaper than it is.

Source: Fawcett and Hoos, "Analysing differences between algorithm configurations through
ablation", Journal of Heuristics 22 (2016); racing: Maron and Moore, NIPS 1993.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import pandas as pd
from scipy import stats

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

AFTER = "loss along the path"


@dataclass(frozen=True, kw_only=True)
class Step:
    """One step: what was ablated before it, and what it ablates."""

    before: Configuration
    component: str

    @property
    def after(self) -> Configuration:
        """All components that are ablated after it."""
        return self.before | {self.component}


@dataclass(frozen=True, kw_only=True)
class AblationPath:
    """The greedy path.

    Args:
        components: Names.
        seeds: Seeds of every race, in the order in which they are spent.
        first_block: Seeds that every candidate of a race gets.
        level: Level of the one-sided paired t test that drops a candidate; divided by the number of
            its rivals.
    """

    traits: ClassVar[DesignTraits] = DesignTraits(
        most_components=40,
        keeps_order=True,
        question_notes={AFTER: "Loss of the metric since the start of the path, after each step."},
    )

    components: Sequence[str]
    seeds: Sequence[int]
    first_block: int = 4
    level: float = 0.05

    def wanted(self, values: Values) -> list[Request]:
        """The next block of the race that is on."""
        return missing_runs([BASELINE], self.seeds, values) or self._walk(values)[1]

    def contrasts(self, values: Values) -> pd.DataFrame:
        """Each step's contribution, and the loss since the start after each step, in path order."""
        rows = []
        for step in self.steps(values):
            last = {step.component: step.after}
            rows += differences(CONTRIBUTION, last, step.before, self.seeds, values)
            rows += differences(AFTER, last, BASELINE, self.seeds, values)
        return frame(sorted(rows, key=lambda row: row[0] != CONTRIBUTION))

    def steps(self, values: Values) -> list[Step]:
        """The finished steps, in order."""
        return self._walk(values)[0]

    def _walk(self, values: Values) -> tuple[list[Step], list[Request]]:
        """The finished steps, and what the running race wants; nothing where the path ends."""
        steps: list[Step] = []
        ablated = BASELINE
        while left := [c for c in self.components if c not in ablated]:
            cheapest, missing = self._race(ablated, left, values)
            if cheapest is None:
                return steps, missing
            steps.append(Step(before=ablated, component=cheapest))
            ablated = steps[-1].after
        return steps, []

    def _race(
        self, ablated: Configuration, left: Sequence[str], values: Values
    ) -> tuple[str | None, list[Request]]:
        """The winner, if the race is over, and the runs that it wants, if it is not."""
        running = list(left)
        for n in self._blocks():
            asked = [ablated | {c} for c in running]
            if missing := missing_runs(asked, self.seeds[:n], values):
                return None, missing
            table = np.array([[values[c, s] for s in self.seeds[:n]] for c in asked], dtype=float)
            running = [running[i] for i in self._survivors(table, len(left))]
            if not running:  # no candidate could be run: the path ends here
                return None, []
        means = {c: _mean([values[ablated | {c}, s] for s in self.seeds]) for c in running}
        return max(running, key=lambda c: means[c]), []

    def _blocks(self) -> list[int]:
        """Cumulative seeds: the first block, doubled, to all; the last block has all seeds."""
        blocks, n = [], self.first_block
        while n < len(self.seeds):
            blocks.append(n)
            n *= 2
        return [*blocks, len(self.seeds)]

    def _survivors(self, table: np.ndarray, n_candidates: int) -> list[int]:
        """Rows of ``table`` (candidates, seeds) that are not plainly worse than the best."""
        means = np.array([_mean(row) for row in table])
        with np.errstate(invalid="ignore"):  # both diverged
            gaps = table[int(means.argmax())] - table  # above zero: worse than the leader
        return [i for i, gap in enumerate(gaps) if not self._is_worse(gap, n_candidates)]

    def _is_worse(self, gap: np.ndarray, n_candidates: int) -> bool:
        if diverged := int(np.isposinf(gap).sum() - np.isneginf(gap).sum()):
            return diverged > 0
        gap = gap[np.isfinite(gap)]
        if len(gap) < 2:
            return len(gap) == 0
        if np.ptp(gap) < 1e-12:
            return bool(gap[0] > 0)
        p = stats.ttest_1samp(gap, 0.0, alternative="greater").pvalue
        return bool(p < self.level / max(1, n_candidates - 1))

    def notes(self, values: Values, table: pd.DataFrame) -> tuple[str, ...]:
        """Racing, the optimism of a step, and the runs that racing saved."""
        k, n = len(self.components), len(self.seeds)
        races = (
            "plainly worse candidates left each race early"
            if len(self.seeds) > self.first_block
            else f"nobody leaves a race before {self.first_block + 1} seeds"
        )
        return (
            f"Greedy path, cheapest first, in the order of the rows; {races}. A step is the best "
            "of several noisy ones and looks a little cheap.",
            f"{len(values)} runs; without racing {n * (1 + k * (k + 1) // 2)}.",
        )


def _mean(values: Sequence[float] | np.ndarray) -> float:
    """Mean of the runs that did not fail; minus infinity without any, or where one diverged."""
    known = np.asarray(values)[~np.isnan(values)]
    return float(known.mean()) if len(known) else -np.inf
