"""Probability of each regime in a fresh run of the same study: a posterior predictive.

    fit      escape rates (`escape`) and escaped values (`outcomes`) to the trials at hand
    repeat   draw rates, means and variances from what is left open; draw a fresh run of n trials
             per cell; label it by the complete rules (`regimes.complete`)
    answer   the share of fresh runs with each label; "undecided" when the largest is too small

Paired trials are drawn jointly: every fresh trial takes the ranks that one observed trial has
in all modes. Arms that are identical bit for bit stay identical in every fresh run.

`benchmarks/trust/calibration.py` measures how far the probabilities can be trusted; the result is
in docs/calibration.md.
"""

from __future__ import annotations

import warnings
from dataclasses import dataclass, replace
from itertools import combinations

import numpy as np
import pandas as pd
from scipy.special import ndtri

from antifragile.analysis.regimes.complete import classify_complete, label_runs
from antifragile.analysis.regimes.escape import EscapeRates, fit_escape_rates, shape_coordinates
from antifragile.analysis.regimes.outcomes import (
    EscapedValues,
    fit_escaped_values,
    fresh_accuracies,
)
from antifragile.analysis.regimes.paper import ABLATIVES, BASELINES
from antifragile.analysis.regimes.words import EPSILON, REGIMES, Regime, RegimeVerdict
from antifragile.analysis.summary import Measure, measured, summarise

_CHUNK = 200  # fresh runs at once, fewer when they have many trials
_CHUNK_TRIALS = 2000


@dataclass(frozen=True, kw_only=True, eq=False)
class Posterior:
    """The fitted model of a study, ready to draw fresh runs from.

    A architectures, M = 6 modes of the paper, T trials.

    Args:
        architectures: Their names, (A,).
        values: (A, M, T) accuracies, percent, NaN where there is no trial.
        n: (A,) trials per cell of a fresh run.
        rates: Escape rates.
        escaped: Values of escaped trials.
        paired: Whether trials are drawn jointly.
    """

    architectures: tuple[str, ...]
    values: np.ndarray
    n: np.ndarray
    rates: EscapeRates
    escaped: EscapedValues
    paired: bool

    @property
    def zero_r(self) -> float:
        """ZeroR accuracy, percent."""
        return self.escaped.zero_r


def fit_posterior(
    trials: pd.DataFrame, *, zero_r: float, paired: bool, measure: Measure = Measure.PEAK
) -> Posterior:
    """Fit the model to trials; architectures need a baseline and an ablative mode.

    Args:
        trials: One row per trial.
        zero_r: ZeroR accuracy, percent.
        paired: Whether trials of one number share their randomness.
        measure: The accuracy that is judged.

    Raises:
        ArchitectureError: A name is not an architecture, so its neighbours are unknown.
    """
    names, values = _cube(measured(trials, measure), measure)
    present = ~np.isnan(values)
    zero_r = zero_r + EPSILON
    n = present.sum(axis=2)  # (A, M)
    rates = fit_escape_rates((values > zero_r).sum(axis=2), n, shape_coordinates(names))
    return Posterior(
        architectures=names,
        values=values,
        n=n.max(axis=1, initial=0),
        rates=rates,
        escaped=fit_escaped_values(values, rates.neighbours, zero_r=zero_r),
        paired=paired,
    )


def regime_probabilities(posterior: Posterior, *, draws: int = 2000, seed: int = 0) -> np.ndarray:
    """Share of fresh runs with each label, (A, 4) in the order of ``REGIMES``.

    Args:
        posterior: The fitted model.
        draws: Fresh runs.
        seed: Seed of the draws; the same seed gives the same numbers.
    """
    counts = np.zeros((len(posterior.architectures), len(REGIMES)))
    chunk = min(_CHUNK, max(1, _CHUNK_TRIALS // int(posterior.n.max(initial=1))))
    for start in range(0, draws, chunk):
        rng = np.random.default_rng([seed, start])
        labels = _label(posterior, _fresh_runs(posterior, rng, min(chunk, draws - start)))
        counts += (labels[..., None] == np.arange(len(REGIMES))).sum(axis=0)
    return counts / draws


def classify_by_posterior(
    trials: pd.DataFrame,
    *,
    zero_r: float,
    paired: bool,
    measure: Measure = Measure.PEAK,
    min_probability: float = 0.9,
    draws: int = 2000,
    seed: int = 0,
) -> dict[str, RegimeVerdict]:
    """Give the complete label of a fresh run where it is probable enough, else "undecided".

    Args:
        trials: One row per trial.
        zero_r: ZeroR accuracy, percent.
        paired: Whether trials of one number share their randomness.
        measure: The accuracy that is judged.
        min_probability: Least probability of a decided label.
        draws: Fresh runs per architecture.
        seed: Seed of the draws.
    """
    complete = classify_complete(summarise(trials, measure), zero_r=zero_r)
    kept = trials[trials["architecture"].isin(list(complete))]
    if not len(kept):
        return {}
    posterior = fit_posterior(kept, zero_r=zero_r, paired=paired, measure=measure)
    shares = regime_probabilities(posterior, draws=draws, seed=seed)
    return {
        name: _verdict(complete[name], row, int(n), min_probability, draws)
        for name, row, n in zip(posterior.architectures, shares, posterior.n, strict=True)
    }


def _verdict(
    complete: RegimeVerdict, shares: np.ndarray, n: int, min_probability: float, draws: int
) -> RegimeVerdict:
    by_regime = {label: float(share) for label, share in zip(REGIMES, shares, strict=True)}
    best = REGIMES[int(shares.argmax())]
    probability = by_regime[best]
    regime = best if probability >= min_probability else Regime.UNDECIDED
    others = ", ".join(
        f"{label.value} {share:.1%}"
        for label, share in by_regime.items()
        if share > 0 and label is not best
    )
    reason = (
        f"{best.value} in {probability:.1%} of {draws} fresh runs of {n} trials"
        + (f" ({others})" if others else "")
        + (f", short of {min_probability:.1%}" if regime is Regime.UNDECIDED else "")
        + f"; these trials: {complete.regime.value}, {complete.reason}"
    )
    return replace(
        complete, regime=regime, reason=reason, probability=probability, probabilities=by_regime
    )


def _cube(trials: pd.DataFrame, measure: Measure) -> tuple[tuple[str, ...], np.ndarray]:
    """(A, M, T) values by trial number, modes in the order baselines, ablatives."""
    names = tuple(str(name) for name in trials["architecture"].unique())
    wide = trials.pivot_table(
        index=["architecture", "mode"], columns="trial", values=measure.column, sort=False
    )
    index = pd.MultiIndex.from_product([names, BASELINES + ABLATIVES])
    values = wide.reindex(index).to_numpy(dtype=float)
    return names, values.reshape(len(names), len(BASELINES + ABLATIVES), -1)


def _fresh_runs(posterior: Posterior, rng: np.random.Generator, draws: int) -> np.ndarray:
    """(draws, A, M, n) accuracies; NaN for modes that were not run and beyond a cell's n."""
    n_modes, n = posterior.values.shape[1], int(posterior.n.max())
    shape = (draws, len(posterior.architectures), n_modes, n)
    past, fresh = _scores(posterior, rng, shape), _scores(posterior, rng, shape)
    parameters = posterior.escaped.draw_parameters(rng, past.sum(axis=3) / np.sqrt(n))
    rates = posterior.rates.draw(rng, draws)
    runs = fresh_accuracies(
        posterior.escaped, _stuck_values(posterior, rng, shape), rates, parameters, fresh
    )
    missing = np.isnan(posterior.values).all(axis=2)[..., None] | (
        np.arange(n) >= posterior.n[:, None, None]
    )
    runs[:, missing] = np.nan
    if posterior.paired:
        _repeat_identical_arms(posterior, runs)
    return runs


def _scores(posterior: Posterior, rng: np.random.Generator, shape: tuple[int, ...]) -> np.ndarray:
    """Standard normal scores; those of paired trials keep their ranks across modes."""
    if not posterior.paired:
        return rng.standard_normal(shape)
    draws, n_shapes, _, n = shape
    scores = np.empty(shape)
    jitter = rng.random(shape)
    for a in range(n_shapes):
        present = ~np.isnan(posterior.values[a])
        joint = present[present.any(axis=1)].all(axis=0)  # trials that every mode has
        complete = np.flatnonzero(joint if joint.any() else present.any(axis=0))
        ranks = _ranks(posterior.values[a][:, complete], rng)  # (M, T)
        picks = rng.integers(0, len(complete), (draws, n))
        position = (np.moveaxis(ranks[:, picks], 0, 1) + jitter[:, a]) / len(complete)
        scores[:, a] = ndtri(np.clip(position, 1e-9, 1 - 1e-9))
    return scores


def _ranks(values: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Rank of each trial within its mode from 0; ties fall the same way in all modes."""
    order = np.lexsort((np.broadcast_to(rng.random(values.shape[1]), values.shape), values), axis=1)
    return np.argsort(order, axis=1)


def _stuck_values(
    posterior: Posterior, rng: np.random.Generator, shape: tuple[int, ...]
) -> np.ndarray:
    stuck = np.empty(shape)
    for a, values in enumerate(posterior.values):
        seen = values[values <= posterior.zero_r]
        pool = seen if len(seen) else np.array([posterior.zero_r - EPSILON])
        stuck[:, a] = rng.choice(pool, (shape[0], *shape[2:]))
    return stuck


def _repeat_identical_arms(posterior: Posterior, runs: np.ndarray) -> None:
    for a, values in enumerate(posterior.values):
        for earlier, later in combinations(range(len(values)), 2):
            if np.array_equal(values[earlier], values[later]):
                runs[:, a, later] = runs[:, a, earlier]


def _label(posterior: Posterior, runs: np.ndarray) -> np.ndarray:
    """Indices into ``REGIMES``, (draws, A)."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)  # of modes that were not run
        means, variances = np.nanmean(runs, axis=3), np.nanvar(runs, axis=3)  # (draws, A, M)
    split = len(BASELINES)
    return label_runs(
        np.nanmean(means[..., :split], axis=2),
        np.sqrt(np.nanmean(variances[..., :split], axis=2)),
        np.nanstd(means[..., :split], axis=2),
        np.nanmean(means[..., split:], axis=2),
        np.nanmax(runs, axis=(2, 3)),
        zero_r=posterior.zero_r - EPSILON,
    )
