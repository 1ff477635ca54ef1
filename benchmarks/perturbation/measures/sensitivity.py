"""Numbers that say how steady training is: over learning rates, over seeds, over steps.

Learning-rate sensitivity is how much loss a badly chosen rate costs: with l(eta) the final loss at
rate eta, l0 the loss at initialisation and l* the least final loss over the rates,

    sensitivity = mean over eta of min(l(eta), l0) - l*

A loss that is no number counts as l0. A method that never learns has sensitivity 0, so the same
mean is also taken against the common best, the least l* over all methods compared.

Source: Wortsman et al. 2023, arXiv 2309.14322, section 2.2.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
from scipy.stats import chi2
from statsmodels.stats.proportion import proportion_confint

Count = int | pd.Series
CONFIDENCE = 0.95
_TAIL = 10  # oscillation looks at the last tenth


def capped(losses: np.ndarray, initial: np.ndarray) -> np.ndarray:
    """Losses no greater than those at initialisation; what is no number counts as that.

    Args:
        losses: (rates, seeds) final losses.
        initial: (seeds,) losses before the first step.
    """
    finite = np.where(np.isfinite(losses), losses, np.inf)
    cut: np.ndarray = np.minimum(finite, initial)
    return cut


def sensitivity(losses: np.ndarray, initial: np.ndarray, best: float | None = None) -> np.ndarray:
    """Learning-rate sensitivity of each seed, (seeds,).

    Args:
        losses: (rates, seeds) final losses on a fixed range of rates.
        initial: (seeds,) losses before the first step.
        best: The l* to compare with; each seed's own least loss when absent.
    """
    cut = capped(losses, initial)
    least = cut.min(axis=0) if best is None else best
    spent: np.ndarray = cut.mean(axis=0) - least
    return spent


def best_rate(losses: np.ndarray, initial: np.ndarray) -> int:
    """Index of the rate with the least mean loss over seeds."""
    return int(capped(losses, initial).mean(axis=1).argmin())


def oscillation(losses: np.ndarray) -> np.ndarray:
    """Standard deviation over the last tenth of the steps, per run.

    Args:
        losses: (steps, runs) training losses of single batches.

    Returns:
        (runs,), NaN where a loss is no number.
    """
    tail = losses[-max(2, len(losses) // _TAIL) :]
    finite = np.isfinite(tail).all(axis=0)
    spread: np.ndarray = np.where(finite, np.where(finite, tail, 0.0).std(axis=0, ddof=1), np.nan)
    return spread


def wilson_interval(successes: Count, trials: Count) -> tuple[Any, Any]:
    """Wilson's interval of a share, or of each of many, in percent."""
    low, high = proportion_confint(successes, trials, alpha=1 - CONFIDENCE, method="wilson")
    return 100 * low, 100 * high


def sd_interval(values: np.ndarray) -> tuple[float, float, float]:
    """Standard deviation of a normal sample with its chi-square interval; NaN below two values."""
    n = len(values)
    if n < 2:
        return np.nan, np.nan, np.nan
    sd, tail = float(values.std(ddof=1)), (1 - CONFIDENCE) / 2
    low, high = ((n - 1) / chi2.ppf(q, n - 1) for q in (1 - tail, tail))
    return sd, sd * float(low) ** 0.5, sd * float(high) ** 0.5
