"""Which modes the best one has not beaten: permutation tests within each architecture.

The mode with the highest mean is set against every other; Holm's correction covers that family.
A mode whose corrected p exceeds alpha is not beaten; the best one itself never is.

Note:
    The paper names a single winner per architecture, by mean, without a test. Choosing the best
    mode by the same trials favours it a little; a set of one is strong, not certain.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable

import numpy as np
import pandas as pd

from antifragile.analysis.inference.permutation import Design, paired_p, two_sample_p
from antifragile.analysis.summary import Measure
from antifragile.report.survey import best_modes

ALPHA = 0.05

NotBeatenRule = Callable[..., dict[str, tuple[str, ...]]]
"""Called as ``rule(trials, measure, paired=...)``; gives the modes not beaten by architecture."""

_Duel = tuple[str, str]  # architecture and challenger
_Samples = tuple[np.ndarray, np.ndarray]


def modes_not_beaten(
    trials: pd.DataFrame, measure: Measure, *, paired: bool
) -> dict[str, tuple[str, ...]]:
    """The modes that the best one by mean does not beat, with it, by architecture.

    Args:
        trials: One row per trial.
        measure: Which accuracy.
        paired: Whether trials of the same number belong together (signs are then flipped).
    """
    modes: dict[str, tuple[str, ...]] = {}
    duels: dict[_Duel, _Samples] = {}
    for name, group in trials.groupby("architecture", sort=False):
        cells = {str(m): rows.set_index("trial") for m, rows in group.groupby("mode", sort=False)}
        values = {mode: rows[measure.column].dropna() for mode, rows in cells.items()}
        modes[str(name)] = tuple(values)
        best = best_modes(pd.Series({mode: series.mean() for mode, series in values.items()}))[0]
        for mode, series in values.items():
            if mode != best:
                duels[str(name), mode] = _samples(values[best], series, paired=paired)
    p = _p_values(duels, paired=paired)
    return {name: _not_beaten(name, listed, p) for name, listed in modes.items()}


def smallest_p(n: int, *, paired: bool) -> float:
    """The smallest p that a test of n against n trials can give."""
    return Design(n=n, n_control=n, paired=paired).smallest_p


def _samples(best: pd.Series, other: pd.Series, *, paired: bool) -> _Samples:
    if paired:
        common = best.index.intersection(other.index)
        best, other = best[common], other[common]
    return best.to_numpy(dtype=float), other.to_numpy(dtype=float)


def _p_values(duels: dict[_Duel, _Samples], *, paired: bool) -> dict[_Duel, float]:
    """Test all duels of one design at once; too small ones get 1."""
    answers = dict.fromkeys(duels, 1.0)
    batches: dict[Design, list[_Duel]] = defaultdict(list)
    for duel, (best, other) in duels.items():
        if min(len(best), len(other)) > 1:
            batches[Design(n=len(best), n_control=len(other), paired=paired)].append(duel)
    for design, names in batches.items():
        best = np.stack([duels[name][0] for name in names])  # (duels, n)
        other = np.stack([duels[name][1] for name in names])  # (duels, m)
        if paired:
            p = paired_p(best - other, design=design)
        else:
            p = two_sample_p(best, other, design=design)
        answers.update(zip(names, map(float, p), strict=True))
    return answers


def _not_beaten(name: str, modes: tuple[str, ...], p: dict[_Duel, float]) -> tuple[str, ...]:
    """All modes but those that Holm's step-down procedure rejects."""
    against = sorted((p[name, mode], mode) for mode in modes if (name, mode) in p)
    rejected = set()
    for place, (value, mode) in enumerate(against):
        if value > ALPHA / (len(against) - place):
            break
        rejected.add(mode)
    return tuple(mode for mode in modes if mode not in rejected)
