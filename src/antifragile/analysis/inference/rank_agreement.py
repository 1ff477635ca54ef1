"""Agreement of two measurements of the same targets: Spearman's correlation of their ranks."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd
from scipy import stats

from antifragile.config.seeds import SeedTree

N_BOOTSTRAP = 1000
_FEWEST_TARGETS = 3


@dataclass(frozen=True, kw_only=True)
class RankAgreement:
    """Spearman's correlation of the mean values of targets.

    Args:
        rho: Correlation over the targets.
        low: Lower end of the 95 % interval over resampled seeds.
        high: Upper end.
        n_targets: Targets that both measured.
    """

    rho: float
    low: float
    high: float
    n_targets: int


def rank_agreement(one: pd.DataFrame, two: pd.DataFrame) -> RankAgreement | None:
    """Correlate over the targets that both measured, seeds resampled with replacement.

    Args:
        one: Values by the first measurement, seeds as index and targets as columns; NaN where a
            value is missing.
        two: The same by the second.

    Returns:
        The agreement; None with fewer than three targets or without a common seed.
    """
    targets = sorted(set(one.columns) & set(two.columns))
    seeds = sorted(set(one.index) & set(two.index))
    if len(targets) < _FEWEST_TARGETS or not seeds:
        return None
    x, y = (table.loc[seeds, targets].to_numpy() for table in (one, two))  # (seeds, targets)
    rng = SeedTree(0).child("rank agreement").generator()
    draws = rng.integers(0, len(seeds), (N_BOOTSTRAP, len(seeds)))
    resampled = _spearman(np.nanmean(x[draws], axis=1), np.nanmean(y[draws], axis=1))
    low, high = np.nanpercentile(resampled, [2.5, 97.5])
    (rho,) = _spearman(np.nanmean(x, axis=0)[None], np.nanmean(y, axis=0)[None])
    return RankAgreement(rho=float(rho), low=float(low), high=float(high), n_targets=len(targets))


def _spearman(one: np.ndarray, two: np.ndarray) -> np.ndarray:
    """(B,) rank correlations of the rows of two (B, targets) arrays; NaN where all are equal."""
    x, y = (ranks - ranks.mean(axis=1, keepdims=True) for ranks in map(_ranks, (one, two)))
    scale = np.sqrt((x**2).sum(axis=1) * (y**2).sum(axis=1))
    with np.errstate(invalid="ignore"):
        return np.asarray((x * y).sum(axis=1) / scale)


def _ranks(values: np.ndarray) -> np.ndarray:
    return np.asarray(stats.rankdata(values, axis=1))
