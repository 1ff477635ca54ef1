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
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum

import numpy as np
import pandas as pd

from antifragile.analysis.inference.families import Family, correct_families
from antifragile.analysis.inference.pairs import IDENTICAL, Pair, compare_pairs, grouped_values
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
            seeds at which an open target should be settled; NaN when settled or out of reach).
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
        contrasts: Columns question, target, seed, value; values that are not finite (a failed
            run) are left out with their seed.
        judgement: Levels, margin and looks.

    Raises:
        DataError: A seed stands twice under one target.
    """
    if contrasts.duplicated(["question", "target", "seed"]).any():
        raise DataError("a seed occurs twice under one target; each pair counts once.")
    finite = contrasts[np.isfinite(contrasts["value"].to_numpy(dtype=float))]
    pairs = [
        Pair(label=label, values=values, control=np.zeros(len(values)), paired=True)
        for label, values in grouped_values(finite, ("question", "target"), "value").items()
    ]
    table = _measure(pairs, judgement)
    alpha, looks = judgement.alpha, judgement.looks
    families = correct_families(
        table, "question", alpha=alpha, paired=True, looks=looks, unit="seeds"
    )
    table["verdict"] = [_verdict(row, judgement) for _, row in table.iterrows()]
    table["seeds_needed"] = [_advice(row, table, judgement) for _, row in table.iterrows()]
    return Judged(table=table.drop(columns="sd"), families=families, judgement=judgement)


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
    table["sd"] = [pair.values.std(ddof=1) if len(pair.values) > 1 else np.nan for pair in pairs]
    names = ["difference", "low", "high", "size", "size_low", "size_high", "equivalence_p"]
    return table[["question", "target", "n", *names, "p", "smallest_p", "sd"]]


def _verdict(row: pd.Series, judgement: Judgement) -> PairedVerdict:
    if np.isnan(row["p"]):
        return PairedVerdict.IDENTICAL
    if row["p_holm"] <= judgement.alpha:
        return PairedVerdict.POSITIVE if row["difference"] > 0 else PairedVerdict.NEGATIVE
    is_equivalent = row["equivalence_holm"] <= judgement.alpha
    return PairedVerdict.EQUIVALENT if is_equivalent else PairedVerdict.OPEN


def _advice(row: pd.Series, table: pd.DataFrame, judgement: Judgement) -> float:
    if row["verdict"] != PairedVerdict.OPEN or not row["sd"] > 0:
        return np.nan
    n_tests = int(table.loc[table["question"] == row["question"], "p"].notna().sum())
    needed = seeds_to_settle(
        mean=float(row["difference"]),
        sd=float(row["sd"]),
        n=int(row["n"]),
        level=judgement.alpha / n_tests / judgement.looks,
        margin=judgement.margin,
        power=judgement.power,
    )
    return np.nan if needed is None else float(needed)
