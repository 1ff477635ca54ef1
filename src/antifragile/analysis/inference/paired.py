"""Verdicts on paired contrasts: the worth of each component in an ablation study.

A *contrast* is one number per seed and target: baseline minus ablated run of the same seed for a
component's contribution, a second difference for an interaction, a marginal for Shapley. Whatever
the design, the judgement is the same:

    mean over seeds        Student's interval of the mean of the n differences. The mean of ten
                           differences is close enough to normal for it; docs/ablation.md,
                           "Planted truth", measures how often it covers.
    p                      exact sign-flip test, with the smallest p that n seeds can give
    size                   mean over the standard deviation of the differences
    equivalence            two one-sided t tests against a margin declared beforehand
    family                 all targets of one question; Holm over it
    looks                  an adaptive study looks several times: every p counts that many times

A target whose contrasts are zero in every seed is "identical": no test, not part of the family.

A contrast is infinite where a training diverged on one side alone. It then counts as the largest of
its target in the sign flips, which leaves the test exact; the target has no interval, no size and
no equivalence, and its mean is infinite.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum

import numpy as np
import pandas as pd

from antifragile.analysis.inference.families import Family, correct_families
from antifragile.analysis.inference.pairs import IDENTICAL, Pair, compare_pairs, grouped_values
from antifragile.analysis.inference.permutation import trials_needed
from antifragile.analysis.inference.seed_advice import seeds_to_settle
from antifragile.errors import DataError

CONTRAST_COLUMNS = ("question", "target", "seed", "value")


class PairedVerdict(StrEnum):
    """Verdict on one target by its seeds.

    POSITIVE and NEGATIVE by the corrected sign-flip test (a contribution: the component helps, or
    harms), EQUIVALENT by the corrected test against the margin, IDENTICAL in every bit of every
    seed, OPEN otherwise.
    """

    POSITIVE = "positive"
    NEGATIVE = "negative"
    EQUIVALENT = "equivalent"
    IDENTICAL = "identical"
    OPEN = "open"


@dataclass(frozen=True, kw_only=True)
class Judgement:
    """Levels and margin by which contrasts are judged; declared before they are seen.

    Args:
        alpha: Level of the corrected verdicts; intervals are of 1 - alpha / looks.
        margin: Contrasts smaller than this are equivalence, in units of the metric; None when no
            margin was declared, and then nothing is called equivalent.
        looks: Number of times an adaptive study may look at its data; 1 for a fixed number of
            seeds.
        power: Probability of a verdict that the advice on further seeds aims at.
    """

    alpha: float = 0.05
    margin: float | None = None
    looks: int = 1
    power: float = 0.8

    def __post_init__(self) -> None:
        if not 0 < self.alpha < 1 or (self.margin is not None and not self.margin > 0):
            raise DataError(
                f"alpha must lie in (0, 1) and the margin above 0; got {self.alpha}, {self.margin}."
            )
        if self.looks < 1:
            raise DataError(f"looks must be at least 1; got {self.looks}.")


@dataclass(frozen=True, kw_only=True, eq=False)
class Judged:
    """The result of `judge_contrasts`.

    Args:
        table: A row per question and target: question, target, n, difference, low, high (units of
            the metric), size, size_low, size_high (standard deviations of the differences), p,
            smallest_p, p_holm, equivalence_p, equivalence_holm, verdict, seeds_needed (total
            seeds at which an open target should be settled; NaN when settled or out of reach),
            plus_infinite, minus_infinite (seeds whose contrast is), replaced (seeds whose contrast
            holds a number that stands for that of a run that diverged).
        families: One per question.
        judgement: Levels and margin that were used.
    """

    table: pd.DataFrame
    families: tuple[Family, ...]
    judgement: Judgement

    def of(self, question: str) -> pd.DataFrame:
        """The rows of one question, targets as index."""
        return self.table[self.table["question"] == question].set_index("target")


def judge_contrasts(contrasts: pd.DataFrame, judgement: Judgement) -> Judged:
    """Judge every target of every question.

    Args:
        contrasts: Columns question, target, seed, value; NaN (a failed run) is left out with its
            seed. A column replaced may say which values hold numbers that stand for those of runs
            that diverged: their targets are not called equivalent.
        judgement: Levels, margin and looks.

    Raises:
        DataError: A seed stands twice under one target.
    """
    if contrasts.duplicated(["question", "target", "seed"]).any():
        raise DataError("a seed occurs twice under one target; each pair counts once.")
    known = contrasts[contrasts["value"].notna()]
    if "replaced" not in known:
        known = known.assign(replaced=False)
    values, replaced = (
        grouped_values(known, ("question", "target"), column) for column in ("value", "replaced")
    )
    pairs = [
        Pair(label=label, values=_without_infinite(v), control=np.zeros(len(v)), paired=True)
        for label, v in values.items()
    ]
    table = _measure(pairs, judgement)
    _mark_diverged(table, list(values.values()), list(replaced.values()))
    alpha, looks = judgement.alpha, judgement.looks
    families = correct_families(
        table, "question", alpha=alpha, paired=True, looks=looks, unit="seeds"
    )
    table["verdict"] = [_verdict(row, judgement) for _, row in table.iterrows()]
    table["seeds_needed"] = [_advice(row, table, judgement) for _, row in table.iterrows()]
    kept = table.drop(columns=["mean", "sd"])
    return Judged(table=kept, families=families, judgement=judgement)


def _without_infinite(values: np.ndarray) -> np.ndarray:
    """Replace infinite values by the largest finite size among them, of the same sign."""
    finite = np.abs(values[np.isfinite(values)])
    largest = float(finite.max(initial=0.0)) or 1.0
    return np.asarray(np.clip(values, -largest, largest))


def _mark_diverged(
    table: pd.DataFrame, values: Sequence[np.ndarray], replaced: Sequence[np.ndarray]
) -> None:
    """Count values that stem from runs that diverged, and take back what they do not allow."""
    table["plus_infinite"] = [int(np.isposinf(v).sum()) for v in values]
    table["minus_infinite"] = [int(np.isneginf(v).sum()) for v in values]
    table["replaced"] = [int(r.sum()) for r in replaced]
    is_infinite = table["plus_infinite"] + table["minus_infinite"] > 0
    with np.errstate(invalid="ignore"):  # of both signs
        means = pd.Series([v.mean() for v in values], index=table.index, dtype=float)
    table.loc[is_infinite, "difference"] = means
    table.loc[is_infinite, ["low", "high", "size", "size_low", "size_high"]] = np.nan
    table.loc[is_infinite | (table["replaced"] > 0), "equivalence_p"] = np.nan


def _measure(pairs: Sequence[Pair], judgement: Judgement) -> pd.DataFrame:
    table = compare_pairs(
        pairs,
        ("question", "target"),
        margin=judgement.margin or 1.0,
        confidence=1 - judgement.alpha / judgement.looks,
    )
    table.loc[table["test"] == IDENTICAL, ["low", "high"]] = 0.0
    if judgement.margin is None:
        table["equivalence_p"] = np.nan
    table["mean"] = table["difference"]
    table["sd"] = [pair.values.std(ddof=1) if len(pair.values) > 1 else np.nan for pair in pairs]
    names = ["difference", "low", "high", "size", "size_low", "size_high", "equivalence_p"]
    return table[["question", "target", "n", *names, "p", "smallest_p", "mean", "sd"]]


def _verdict(row: pd.Series, judgement: Judgement) -> PairedVerdict:
    if np.isnan(row["p"]):
        return PairedVerdict.IDENTICAL
    if row["p_holm"] <= judgement.alpha:
        return PairedVerdict.POSITIVE if row["mean"] > 0 else PairedVerdict.NEGATIVE
    is_equivalent = row["equivalence_holm"] <= judgement.alpha
    return PairedVerdict.EQUIVALENT if is_equivalent else PairedVerdict.OPEN


def _advice(row: pd.Series, table: pd.DataFrame, judgement: Judgement) -> float:
    if row["verdict"] != PairedVerdict.OPEN or np.isnan(row["sd"]):
        return np.nan
    n_tests = int(table.loc[table["question"] == row["question"], "p"].notna().sum())
    level = judgement.alpha / n_tests / judgement.looks
    if row["sd"] == 0:
        return float(max(int(row["n"]) + 1, trials_needed(level, paired=True)))
    needed = seeds_to_settle(
        mean=float(row["mean"]),
        sd=float(row["sd"]),
        n=int(row["n"]),
        level=level,
        margin=judgement.margin if np.isfinite(row["low"]) and not row["replaced"] else None,
        power=judgement.power,
    )
    return np.nan if needed is None else float(needed)
