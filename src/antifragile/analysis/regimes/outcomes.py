"""Accuracies that trials reach: stuck at ZeroR or escaped, as a mixture per cell.

An escaped trial's accuracy y (percent) is Student's t on the scale log((y - Z) / (100 - y)), Z
being ZeroR: mean of the cell's own escaped trials, variance shrunk (by ``_PRIOR_TRIALS`` degrees
of freedom) towards the geometric mean of the variances of its shape's and its neighbours' cells,
so that five equal trials do not mean a variance of zero. A cell without an escaped trial takes
its mean from there too. A stuck trial takes one of the stuck values seen.

Draws are made from standard normal *scores* handed in: independent ones, or (paired trials)
scores that keep the rank of each trial in every mode, so that a trial which was good in one mode
is good in the others of the fresh run too.

Shapes: A architectures, M modes, T trials.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.special import ndtr, ndtri

_PRIOR_TRIALS = 4.0
_OWN_SHAPE = 3.0  # a cell of the same shape counts like this many neighbours at no distance
_LEAST_SD = 0.01  # on the log-odds scale: 98.20 % against 98.22 %
_EDGE = 1e-6  # keeps log odds finite at 100 %


@dataclass(frozen=True, kw_only=True, eq=False)
class EscapedValues:
    """Distribution of escaped trials, per cell, on the log-odds scale.

    Args:
        mean: (A, M).
        mean_trials: (A, M) trials behind the mean; below 1 where it is borrowed.
        scale: (A, M) standard deviation of a trial.
        degrees: (A, M) degrees of freedom of the scale.
        zero_r: Percent.
    """

    mean: np.ndarray
    mean_trials: np.ndarray
    scale: np.ndarray
    degrees: np.ndarray
    zero_r: float

    def draw_parameters(
        self, rng: np.random.Generator, mean_scores: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray]:
        """Draw (mean, sd) of every cell from the posterior, each (draws, A, M)."""
        chi2 = rng.chisquare(np.broadcast_to(self.degrees, mean_scores.shape))
        sd = self.scale * np.sqrt(self.degrees / chi2)
        return self.mean + mean_scores * sd / np.sqrt(self.mean_trials), sd

    def accuracies(self, log_odds: np.ndarray) -> np.ndarray:
        """From the log-odds scale to percent."""
        share = 1 / (1 + np.exp(-np.clip(log_odds, -50, 50)))
        return np.asarray(self.zero_r + (100 - self.zero_r) * share)


def fit_escaped_values(
    values: np.ndarray, neighbours: np.ndarray, *, zero_r: float
) -> EscapedValues:
    """Fit location and spread of the escaped trials of every cell.

    Args:
        values: (A, M, T) accuracies, percent, NaN where there is no trial.
        neighbours: (A, A) weights of `escape.EscapeRates`.
        zero_r: ZeroR accuracy, percent.
    """
    escaped = values > zero_r
    share = np.clip((values - zero_r) / (100 - zero_r), _EDGE, 1 - _EDGE)
    log_odds = np.where(escaped, np.log(share / (1 - share)), 0.0)
    k = escaped.sum(axis=2)  # (A, M)
    mean = log_odds.sum(axis=2) / np.maximum(k, 1)
    squares = (np.where(escaped, log_odds - mean[..., None], 0.0) ** 2).sum(axis=2)
    variance = np.maximum(squares / np.maximum(k - 1, 1), _LEAST_SD**2)

    own = np.maximum(k - 1.0, 0)
    prior_mean = _pooled(mean, k.astype(float), neighbours, default=-2.0)
    prior_log_variance = _pooled(np.log(variance), own, neighbours, default=0.0)
    degrees = _PRIOR_TRIALS + own
    scale = np.sqrt((_PRIOR_TRIALS * np.exp(prior_log_variance) + own * variance) / degrees)
    return EscapedValues(
        mean=np.where(k > 0, mean, prior_mean),
        mean_trials=np.where(k > 0, k, 0.5),
        scale=scale,
        degrees=degrees,
        zero_r=zero_r,
    )


def fresh_accuracies(
    fitted: EscapedValues,
    stuck_values: np.ndarray,
    rates: np.ndarray,
    parameters: tuple[np.ndarray, np.ndarray],
    scores: np.ndarray,
) -> np.ndarray:
    """Accuracies of fresh trials.

    Args:
        fitted: The model of escaped values.
        stuck_values: (draws, A, M, T) values for trials that do not escape, percent.
        rates: (draws, A, M) escape rates.
        parameters: The result of `EscapedValues.draw_parameters`.
        scores: (draws, A, M, T) standard normal scores; the lowest trials are the stuck ones.
    """
    mean, sd = parameters
    stuck_share = 1 - rates[..., None]
    position = ndtr(scores)
    is_stuck = position <= stuck_share
    within = np.clip((position - stuck_share) / np.maximum(rates[..., None], 1e-12), 1e-9, 1 - 1e-9)
    escaped = fitted.accuracies(mean[..., None] + sd[..., None] * ndtri(within))
    return np.where(is_stuck, stuck_values, escaped)


def _pooled(
    quantity: np.ndarray, weight: np.ndarray, neighbours: np.ndarray, *, default: float
) -> np.ndarray:
    """Weighted mean over the cells of the same shape and of its neighbours, (A, M)."""
    total, mass = (quantity * weight).sum(axis=1), weight.sum(axis=1)  # (A,)
    near_total = neighbours @ total + _OWN_SHAPE * total
    near_mass = neighbours @ mass + _OWN_SHAPE * mass
    overall = total.sum() / mass.sum() if mass.sum() else default
    pooled = np.where(near_mass > 1e-3, near_total / np.maximum(near_mass, 1e-12), overall)
    return np.broadcast_to(pooled[:, None], quantity.shape)
