"""The best mode of every architecture, and the modes that it has not beaten.

The mode with the highest mean is tested against every other one by permutation; Holm's correction
covers the tests within an architecture. A mode whose corrected p exceeds `ALPHA` is not beaten;
the best one itself never is.

Note:
    The paper names a single winner per architecture, by mean, without a test. Choosing the best
    mode by the same trials favours it a little; a set of one is strong, not certain.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd

from antifragile.analysis.inference.families import ALPHA, Family, corrected
from antifragile.analysis.inference.pairs import Pair, match_trials, permutation_p, values_by_trial
from antifragile.analysis.inference.permutation import Design, trials_needed
from antifragile.analysis.summary import Measure

_EQUAL = 1e-9  # percentages computed from counts differ in the last bit


def best_modes(modes: Sequence[str], values: np.ndarray) -> tuple[str, ...]:
    """The mode with the highest value, or all that share it."""
    is_best = values >= values.max() - _EQUAL
    return tuple(mode for mode, best in zip(modes, is_best, strict=True) if best)


def modes_not_beaten(
    trials: pd.DataFrame, measure: Measure, *, paired: bool
) -> dict[str, tuple[str, ...]]:
    """Find the best mode by mean and the modes it does not beat, by architecture.

    Args:
        trials: One row per trial.
        measure: The accuracy that is compared.
        paired: Whether trials of the same number belong together (signs are then flipped).
    """
    modes: dict[str, tuple[str, ...]] = {}
    pairs: list[Pair] = []
    for name, values in values_by_trial(trials, measure.column).items():
        modes[name] = tuple(values)
        means = np.array([series.mean() for series in values.values()])
        best = best_modes(modes[name], means)[0]
        pairs += [
            match_trials((name, mode), values[best], series, paired=paired)
            for mode, series in values.items()
            if mode != best
        ]
    beaten = _beaten(pairs)
    return {
        name: tuple(mode for mode in listed if (name, mode) not in beaten)
        for name, listed in modes.items()
    }


def family_within_architecture(*, n_modes: int, n_trials: int, paired: bool) -> Family:
    """Describe the family of tests of `modes_not_beaten` within one architecture.

    Args:
        n_modes: Modes of the architecture.
        n_trials: Trials of each.
        paired: Whether trials of the same number belong together.
    """
    n_tests = max(n_modes - 1, 1)
    return Family(
        name="architecture",
        n_tests=n_tests,
        n_identical=0,
        first_threshold=ALPHA / n_tests,
        smallest_p=Design(n=n_trials, n_control=n_trials, paired=paired).smallest_p,
        trials_needed=trials_needed(ALPHA / n_tests, paired=paired),
    )


def _beaten(pairs: list[Pair]) -> set[tuple[str, str]]:
    """Architecture and mode of every pair that differs; one that cannot be tested has p = 1."""
    table = pd.DataFrame([pair.label for pair in pairs], columns=["architecture", "mode"])
    table["p"] = np.nan_to_num(permutation_p(pairs, least_trials=2), nan=1.0)
    beaten: set[tuple[str, str]] = set()
    for name, rows in table.groupby("architecture", sort=False):
        found = rows[corrected(rows["p"]) <= ALPHA]
        beaten |= {(str(name), str(mode)) for mode in found["mode"]}
    return beaten
