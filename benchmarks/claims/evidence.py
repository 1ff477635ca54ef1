"""Evidence that the tests of claims share: its regimes, and differences over shapes."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import pandas as pd
from scipy.stats import fisher_exact
from statsmodels.stats.proportion import proportion_confint

from antifragile.analysis.convergence import curves
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


@dataclass(frozen=True, kw_only=True)
class Finding:
    """An answer to a claim from some evidence: numbers in words, and a verdict."""

    result: str
    verdict: str


@dataclass(frozen=True, kw_only=True)
class Claim:
    """A claim of the paper, the test it is put to, and how to run that."""

    says: str
    where: str
    test: str
    judge: Callable[[Evidence], Finding | None]


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

    @property
    def zero_r(self) -> float:
        """ZeroR accuracy, percent."""
        return self.source.zero_r

    @cached_property
    def verdicts(self) -> dict[str, RegimeVerdict]:
        """Regimes by the complete rules."""
        return classify_complete(summarise(self.source.trials), zero_r=self.zero_r)

    @cached_property
    def means(self) -> pd.DataFrame:
        """Mean peak per architecture (rows) and mode."""
        cells = summarise(self.source.trials)
        return cells.pivot(index="architecture", columns="mode", values="mean")

    @cached_property
    def curves(self) -> pd.DataFrame | None:
        """Sorted, with bounties."""
        return None if self.curve_rows is None else curves(self.curve_rows)

    def of_regime(self, *regimes: Regime) -> list[str]:
        """Architectures with one of these labels."""
        return [name for name, verdict in self.verdicts.items() if verdict.regime in regimes]

    def trials(self, architecture: str, *modes: str) -> np.ndarray:
        """Peaks of these modes together, percent, in order of the trials."""
        frame = self.source.trials.sort_values("trial", kind="stable")
        chosen = (frame["architecture"] == architecture) & frame["mode"].isin(modes)
        return frame.loc[chosen, "peak_validation_accuracy"].to_numpy(dtype=float)

    def has(self, *architectures: str) -> bool:
        """Say whether all of these were run in all six modes."""
        return all(name in self.means.index for name in architectures) and bool(
            self.means.reindex(list(architectures))[[*BASELINES, *ABLATIVES]].notna().all(axis=None)
        )

    def escapes(self, architectures: Sequence[str], *modes: str) -> tuple[int, int]:
        """Count (trials above ZeroR, trials)."""
        values = np.concatenate([self.trials(name, *modes) for name in architectures])
        return int((values > self.zero_r + 1e-9).sum()), len(values)


def over_shapes(differences: pd.Series) -> tuple[str, float, float, float]:
    """Mean difference over architectures: words, mean, p (sign flips), share positive."""
    values = differences.dropna().to_numpy(dtype=float)
    design = Design(n=len(values), n_control=len(values), paired=True)
    p = float(paired_p(values[None], design=design)[0])
    low, high = mean_interval(values)
    share = float((values > 0).mean())
    words = (
        f"{values.mean():+.2f} ({low:+.2f} to {high:+.2f}) over {len(values)} architectures, "
        f"positive in {int((values > 0).sum())}, p = {p:.2g} ({design.words})"
    )
    return words, float(values.mean()), p, share


def two_arms(evidence: Evidence, architecture: str, mode: str, other: str) -> tuple[str, float]:
    """Difference in means between two modes of one architecture in words, and its p."""
    a, b = evidence.trials(architecture, mode), evidence.trials(architecture, other)
    paired = evidence.source.paired
    design = Design(n=len(a), n_control=len(b), paired=paired)
    if paired:
        p, n = float(paired_p((a - b)[None], design=design)[0]), f"{len(a)} pairs"
    else:
        p, n = float(two_sample_p(a[None], b[None], design=design)[0]), f"{len(a)}, {len(b)}"
    return f"{mode} - {other} {a.mean() - b.mean():+.2f}, p = {p:.2g} (n = {n})", p


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
