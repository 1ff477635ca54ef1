"""Claims, the evidence that they are put to, and the tests that they share.

A claim is a function of the evidence that `claim` has marked with what the paper says and where.
Evidence that lacks the shapes a claim speaks of raises `TooFew`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property, partial
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from scipy.stats import fisher_exact
from statsmodels.stats.proportion import proportion_confint

from antifragile.analysis.convergence import curves
from antifragile.analysis.inference.comparisons import compare_with_control
from antifragile.analysis.inference.effects import mean_interval
from antifragile.analysis.inference.permutation import Design, paired_p, two_sample_p
from antifragile.analysis.regimes.complete import classify_complete
from antifragile.analysis.regimes.words import Regime, RegimeVerdict
from antifragile.analysis.source import Source
from antifragile.analysis.summary import summarise

BASELINES = ("none", "decay", "dropout")
ABLATIVES = ("full", "hidden", "output")
STABLE = (Regime.BENEFICIAL, Regime.OPTIMAL)
HOLDS, FAILS, OPEN, PARTLY = "holds", "contradicted", "open", "partly"
_PAPERS_LOOPS = 100  # claims about late loops are not put to shorter studies


class TooFew(Exception):
    """The evidence lacks the shapes or the loops that a claim speaks of."""


@dataclass(frozen=True)
class Finding:
    """An answer to a claim from some evidence: numbers in words, and a verdict."""

    result: str
    verdict: str


@dataclass(frozen=True)
class Claim:
    """A claim of the paper, its section, the test it is put to, and how to run that."""

    says: str
    where: str
    test: str
    judge: Callable[[Evidence], Finding]

    def put_to(self, evidence: Evidence) -> Finding | None:
        """The finding, or None where the evidence is too little."""
        try:
            return self.judge(evidence)
        except TooFew:
            return None


def claim(says: str, where: str, test: str) -> Callable[[Callable[[Evidence], Finding]], Claim]:
    """Make a claim of the function below."""
    return partial(Claim, says, where, test)


@dataclass(frozen=True, eq=False)
class Evidence:
    """Trials and curves of one study.

    Args:
        label: Heading of its columns.
        source: The trials.
        curve_rows: One row per meta-loop; of the best trial of a cell only in the paper's data.
    """

    label: str
    source: Source
    curve_rows: pd.DataFrame | None

    @cached_property
    def verdicts(self) -> dict[str, RegimeVerdict]:
        """Regimes by the complete rules."""
        return classify_complete(summarise(self.source.trials), zero_r=self.source.zero_r)

    @cached_property
    def means(self) -> pd.DataFrame:
        """Mean peak per architecture (rows) and mode."""
        cells = summarise(self.source.trials)
        return cells.pivot(index="architecture", columns="mode", values="mean")

    @cached_property
    def curves(self) -> pd.DataFrame:
        """Sorted, with bounties; raises where the study is shorter than the paper's."""
        if self.curve_rows is None or self.curve_rows["meta_loop"].max() < _PAPERS_LOOPS:
            raise TooFew
        return curves(self.curve_rows)

    def of_regime(self, *regimes: Regime, least: int = 1) -> list[str]:
        """Architectures with one of these labels; raises where there are fewer than ``least``."""
        names = [name for name, verdict in self.verdicts.items() if verdict.regime in regimes]
        if len(names) < least:
            raise TooFew
        return names

    def against_control(self, names: Sequence[str], **options: Any) -> pd.DataFrame:
        """Every mode of these architectures against ``none``."""
        chosen = self.source.trials[self.source.trials["architecture"].isin(names)]
        return compare_with_control(chosen, paired=self.source.paired, **options).table

    def trials(self, architecture: str, *modes: str) -> np.ndarray:
        """Peaks of these modes together, percent, in order of the trials."""
        frame = self.source.trials.sort_values("trial", kind="stable")
        chosen = (frame["architecture"] == architecture) & frame["mode"].isin(modes)
        return frame.loc[chosen, "peak_validation_accuracy"].to_numpy(dtype=float)

    def need(self, *architectures: str) -> None:
        """Raise unless all of these were run in all six modes."""
        if not set(architectures) <= set(self.means.index):
            raise TooFew
        if self.means.loc[list(architectures), [*BASELINES, *ABLATIVES]].isna().any(axis=None):
            raise TooFew

    def escapes(self, architectures: Sequence[str], *modes: str) -> tuple[int, int]:
        """Count (trials above ZeroR, trials)."""
        values = np.concatenate([self.trials(name, *modes) for name in architectures])
        return int((values > self.source.zero_r + 1e-9).sum()), len(values)


def together(sources: Sequence[Source]) -> Source:
    """One source of several; what is known of their origin is that of the first."""
    return replace(
        sources[0],
        name=" and ".join(dict.fromkeys(source.name for source in sources)),
        trials=pd.concat([source.trials for source in sources], ignore_index=True),
        meta_loops=pd.concat([source.meta_loops for source in sources], ignore_index=True),
    )


class Difference(NamedTuple):
    """A mean difference with its p, and both in words."""

    words: str
    mean: float
    p: float

    @property
    def verdict(self) -> str:
        """Verdict on the claim that it is above zero."""
        return judged(self.p, agrees=self.mean > 0)


def uplift(means: pd.DataFrame) -> pd.Series:
    """Mean of the ablative modes minus that of the baselines."""
    return means[list(ABLATIVES)].mean(axis=1) - means[list(BASELINES)].mean(axis=1)


def over_shapes(differences: pd.Series) -> Difference:
    """Mean difference over architectures, its p by sign flips."""
    values = differences.dropna().to_numpy(dtype=float)
    design = Design(n=len(values), n_control=len(values), paired=True)
    p = float(paired_p(values[None], design=design)[0])
    low, high = mean_interval(values)
    words = (
        f"{values.mean():+.2f} ({low:+.2f} to {high:+.2f}) over {len(values)} architectures, "
        f"positive in {int((values > 0).sum())}, p = {p:.2g} ({design.words})"
    )
    return Difference(words, float(values.mean()), p)


def two_arms(evidence: Evidence, architecture: str, mode: str, other: str) -> Difference:
    """Difference in means between two modes of one architecture."""
    a, b = evidence.trials(architecture, mode), evidence.trials(architecture, other)
    paired = evidence.source.paired
    design = Design(n=len(a), n_control=len(b), paired=paired)
    if paired:
        p, n = float(paired_p((a - b)[None], design=design)[0]), f"{len(a)} pairs"
    else:
        p, n = float(two_sample_p(a[None], b[None], design=design)[0]), f"{len(a)}, {len(b)}"
    mean = float(a.mean() - b.mean())
    return Difference(f"{mode} - {other} {mean:+.2f}, p = {p:.2g} (n = {n})", mean, p)


def rate(hits: int, n: int) -> str:
    """A proportion with its exact (Clopper-Pearson) interval."""
    low, high = proportion_confint(hits, n, method="beta")
    return f"{hits}/{n} ({100 * low:.1f} to {100 * high:.1f} %)"


def fisher(first: tuple[int, int], second: tuple[int, int]) -> float:
    """Two-sided p that two rates are equal."""
    table = [[hits, n - hits] for hits, n in (first, second)]
    return float(fisher_exact(table)[1])


def judged(p: float, *, agrees: bool, alpha: float = 0.05) -> str:
    """Significant and as claimed, significant against it, or open."""
    if p > alpha:
        return OPEN
    return HOLDS if agrees else FAILS
