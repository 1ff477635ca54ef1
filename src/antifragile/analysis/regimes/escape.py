"""Escape rates: how often a trial of a shape learns at all, as a beta-binomial with neighbours.

A trial *escapes* when its accuracy exceeds ZeroR. Its rate is modelled on three levels, for shape
a and mode m, with k_am of n_am trials escaped:

    q_a     the rate among neighbouring shapes (and a little of the whole landscape), without a
    r_a     ~ Beta(K q_a, K (1 - q_a))            the shape's own rate
    p_am    ~ Beta(C r_a, C (1 - r_a))            the mode's rate
    k_am    ~ Binomial(n_am, p_am)

A neighbour b counts with weight exp(-d^2 / (2 h^2)), where d is the distance of log2 depth and
log2 width. The three numbers h, K, C are those of a grid that make the counts most probable
(empirical Bayes, every q_a leaving a out); r_a is integrated over a grid of log odds whose two
end points, 0 and 1, hold what the beta distribution has beyond it: dead shapes and sure ones. So
ten dead trials amid dead shapes mean more than ten dead trials on the edge.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import product

import numpy as np
from scipy.special import betainc, betaln, logsumexp

from antifragile.config.architecture import Architecture

_BANDWIDTHS = (0.1, 0.2, 0.4, 0.8)  # doublings; 20*20 and 21*21 lie 0.1 apart
_SHAPE_STRENGTHS = (0.3, 1.0, 3.0, 10.0, 30.0)  # K, in trials
_MODE_STRENGTHS = (2.0, 5.0, 15.0, 50.0)  # C, in trials
_LANDSCAPE = 0.5  # trials' worth of the whole landscape's rate in every q_a
_TINY = 1e-12
_FLOOR = 1e-4  # no rate is surely 0 or 1
_EDGES = 1 / (1 + np.exp(-np.linspace(-11, 11, 202)))  # between the inner rates, (G - 1,)
_INNER = 1 / (1 + np.exp(-(np.linspace(-11, 11, 202)[:-1] + 11 / 201)))
_RATES = np.concatenate([[0.0], _INNER, [1.0]])  # grid of r_a, (G,)


@dataclass(frozen=True, kw_only=True, eq=False)
class EscapeRates:
    """The fitted model: A shapes, M modes, G grid rates.

    Args:
        escaped: (A, M) trials above ZeroR.
        n: (A, M) trials, 0 where a mode was not run.
        shape_posterior: (A, G) probability of each grid rate for r_a.
        neighbours: (A, A) weights, zero on the diagonal.
        strength: C, how many trials' worth modes share their shape's rate.
    """

    escaped: np.ndarray
    n: np.ndarray
    shape_posterior: np.ndarray
    neighbours: np.ndarray
    strength: float

    def draw(self, rng: np.random.Generator, draws: int) -> np.ndarray:
        """Draw escape rates of every cell from the posterior, (draws, A, M)."""
        below = np.cumsum(self.shape_posterior, axis=1)  # (A, G)
        picks = rng.random((draws, len(below))) * below[:, -1]
        found = zip(below, picks.T, strict=True)
        chosen = np.stack([np.searchsorted(*pair) for pair in found], axis=1)
        rates = _RATES[np.minimum(chosen, len(_RATES) - 1)][:, :, None]  # (draws, A, 1)
        drawn = rng.beta(
            np.maximum(self.strength * rates + self.escaped, _TINY),
            np.maximum(self.strength * (1 - rates) + self.n - self.escaped, _TINY),
        )
        return np.where(rates == 0, 0.0, np.where(rates == 1, 1.0, drawn))


def fit_escape_rates(escaped: np.ndarray, n: np.ndarray, coordinates: np.ndarray) -> EscapeRates:
    """Fit the model to counts.

    Args:
        escaped: (A, M) trials above ZeroR.
        n: (A, M) trials, 0 where a mode was not run.
        coordinates: (A, 2) as `shape_coordinates` gives them.
    """
    squares = ((coordinates[:, None] - coordinates[None]) ** 2).sum(axis=2)  # (A, A)
    weights = {h: _neighbour_weights(squares, h) for h in _BANDWIDTHS}
    priors = {h: _neighbour_rates(escaped, n, weights[h]) for h in _BANDWIDTHS}
    likelihoods = {c: _mode_likelihood(escaped, n, c) for c in _MODE_STRENGTHS}

    def log_joint(h: float, k: float, c: float) -> np.ndarray:
        return np.asarray(_log_prior(priors[h], k) + likelihoods[c])

    grid = product(_BANDWIDTHS, _SHAPE_STRENGTHS, _MODE_STRENGTHS)
    h, k, c = max(grid, key=lambda hkc: logsumexp(log_joint(*hkc), axis=1).sum())
    joint = log_joint(h, k, c)
    return EscapeRates(
        escaped=escaped,
        n=n,
        shape_posterior=np.exp(joint - logsumexp(joint, axis=1, keepdims=True)),
        neighbours=weights[h],
        strength=c,
    )


def shape_coordinates(names: Sequence[str]) -> np.ndarray:
    """Log2 of depth and of (geometric mean) width per architecture, (A, 2).

    Raises:
        ArchitectureError: A name is not an architecture.
    """
    shapes = [Architecture.parse(name) for name in names]
    sizes = [(shape.depth, shape.mean_width) for shape in shapes]
    return np.asarray(np.log2(np.array(sizes, dtype=float).reshape(-1, 2)))


def _neighbour_weights(squares: np.ndarray, bandwidth: float) -> np.ndarray:
    weights = np.exp(-squares / (2 * bandwidth**2))
    np.fill_diagonal(weights, 0)
    return np.asarray(weights)


def _neighbour_rates(escaped: np.ndarray, n: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """q_a, (A,)."""
    successes, trials = escaped.sum(axis=1), n.sum(axis=1)
    overall = (successes.sum() + 0.5) / (trials.sum() + 1)
    rates = (weights @ successes + _LANDSCAPE * overall) / (weights @ trials + _LANDSCAPE)
    return np.asarray(np.clip(rates, _FLOOR, 1 - _FLOOR))


def _log_prior(rates: np.ndarray, strength: float) -> np.ndarray:
    """Log probability of every grid rate under Beta(K q, K (1 - q)), (A, G)."""
    a, b = strength * rates[:, None], strength * (1 - rates[:, None])
    below = betainc(a, b, _EDGES)  # (A, G - 1)
    mass = np.diff(below, axis=1, prepend=0.0, append=1.0)
    return np.asarray(np.log(np.maximum(mass, _TINY)))


def _mode_likelihood(escaped: np.ndarray, n: np.ndarray, strength: float) -> np.ndarray:
    """Log beta-binomial probability of a shape's counts at every grid rate, (A, G)."""
    a, b = strength * _INNER, strength * (1 - _INNER)  # (G - 2,)
    k, stuck = escaped[..., None], (n - escaped)[..., None]
    inner = (betaln(a + k, b + stuck) - betaln(a, b)).sum(axis=1)
    dead = np.where(escaped.sum(axis=1) == 0, 0.0, -np.inf)[:, None]
    sure = np.where((n - escaped).sum(axis=1) == 0, 0.0, -np.inf)[:, None]
    return np.concatenate([dead, inner, sure], axis=1)
