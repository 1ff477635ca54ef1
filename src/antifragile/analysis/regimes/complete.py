"""Rules that label every architecture: the paper's two axes, stability and capacity, in order.

With Z the ZeroR accuracy of the validation split, mu the mean and P the peak over trials, B the
baseline and A the ablative modes, sd_B the pooled standard deviation of trials within the
baseline modes, all in percent:

    1. architectural-failure      max P <= Z: nothing was ever learned
    2. chaotic-optimization       mu_B <= Z + (100 - Z) / 10    the baselines hardly learn, or
                                  sd_B > 5                      they learn in some trials only
    3. optimally-sized            mu_A < mu_B - s               stable, and ablation harms
    4. beneficial-regularization  otherwise                     stable, and ablation is absorbed

    s = max(population sd of the baseline means, 0.5)

Sections III.A to III.D of the paper name the regimes by these axes: high capacity and stable,
low capacity and stable, low capacity and unstable, untrainable.

Note:
    Where we differ from the printed rules (`regimes.paper`): stability is asked before harm, so
    a network at ZeroR is never beneficial or optimally sized, and the six architectures that
    they leave open are labelled. On the paper's data the labels that its text assigns all hold;
    five printed labels are overruled (17*4, 1*2, 2*4, 3*3, 2*2). The gap in sd_B between the
    steadiest unstable and the least steady stable network is wide: 5.7 (1*1) and 1.5 (1*4).
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pandas as pd

from antifragile.analysis.regimes.paper import ABLATIVES, BASELINES, classify_by_paper
from antifragile.analysis.regimes.words import EPSILON, REGIMES, TOLERANCE, Regime, RegimeVerdict

LEARNED_SHARE = 0.1  # of the room above ZeroR, which a stable network's baselines exceed
STABLE_SD = 5.0  # percentage points between trials of one baseline mode


def classify_complete(summary: pd.DataFrame, *, zero_r: float) -> dict[str, RegimeVerdict]:
    """Label every architecture that has at least one baseline and one ablative mode.

    Args:
        summary: The result of `summary.summarise` (population sd).
        zero_r: ZeroR accuracy of the validation split, percent.

    Returns:
        A verdict per architecture, in order of appearance. Where the printed rules give another
        label, ``overrules`` names it and the reason says so.
    """
    printed = classify_by_paper(summary, zero_r=zero_r)
    verdicts = {}
    for name, rows in summary.groupby("architecture", sort=False):
        cells = rows.set_index("mode").reindex(BASELINES + ABLATIVES)
        baseline, ablative = (cells.loc[m].dropna(how="all") for m in (BASELINES, ABLATIVES))
        if len(baseline) and len(ablative):
            verdict = _classify(baseline, ablative, zero_r)
            verdicts[str(name)] = _beside(verdict, printed.get(str(name)))
    return verdicts


def label_runs(
    mean_b: np.ndarray,
    sd_b: np.ndarray,
    sd_of_means_b: np.ndarray,
    mean_a: np.ndarray,
    peak: np.ndarray,
    *,
    zero_r: float,
) -> np.ndarray:
    """Apply the same rules to many runs at once; indices into ``REGIMES``.

    Args:
        mean_b: Mean of the baseline means, percent, any shape; the others have the same.
        sd_b: Pooled population sd within the baseline modes.
        sd_of_means_b: Population sd of the baseline means.
        mean_a: Mean of the ablative means.
        peak: Best trial of all.
        zero_r: ZeroR accuracy, percent.
    """
    tolerance = np.maximum(sd_of_means_b, TOLERANCE)
    conditions = [
        peak <= zero_r + EPSILON,
        (mean_b <= learned_above(zero_r) + EPSILON) | (sd_b > STABLE_SD + EPSILON),
        mean_a < mean_b - tolerance,
    ]
    order = [Regime.FAILURE, Regime.CHAOTIC, Regime.OPTIMAL]
    indices = [REGIMES.index(regime) for regime in order]
    return np.select(conditions, indices, default=REGIMES.index(Regime.BENEFICIAL))


def learned_above(zero_r: float) -> float:
    """The mean accuracy (percent) that the baselines of a stable network exceed."""
    return zero_r + LEARNED_SHARE * (100 - zero_r)


def _classify(baseline: pd.DataFrame, ablative: pd.DataFrame, zero_r: float) -> RegimeVerdict:
    means_b = baseline["mean"].to_numpy(dtype=float)
    mu_b, mu_a = float(means_b.mean()), float(ablative["mean"].mean())
    sd_b = float(np.sqrt((baseline["sd"].to_numpy(dtype=float) ** 2).mean()))
    sd_means = float(means_b.std())
    peak = float(max(baseline["max"].max(), ablative["max"].max()))
    averages = (np.asarray(value) for value in (mu_b, sd_b, sd_means, mu_a, peak))
    regime = REGIMES[int(label_runs(*averages, zero_r=zero_r))]
    tolerance = max(sd_means, TOLERANCE)
    reasons = {
        Regime.FAILURE: f"no trial exceeds ZeroR ({zero_r:.2f} %): best {peak:.2f} %",
        Regime.CHAOTIC: _why_unstable(mu_b, sd_b, peak, zero_r),
        Regime.OPTIMAL: (
            f"stable (baseline trials spread by {sd_b:.2f}), and ablation harms: ablative mean "
            f"{mu_a:.2f} % lies {mu_b - mu_a:.2f} below the baselines' {mu_b:.2f} %, more than "
            f"{tolerance:.2f}"
        ),
        Regime.BENEFICIAL: (
            f"stable (baseline trials spread by {sd_b:.2f}), and ablation is absorbed: ablative "
            f"mean {mu_a:.2f} % is within {tolerance:.2f} of, or above, the baselines' {mu_b:.2f} %"
        ),
    }
    return RegimeVerdict(regime=regime, reason=reasons[regime])


def _why_unstable(mu_b: float, sd_b: float, peak: float, zero_r: float) -> str:
    found = f"best trial {peak:.2f} %"
    if mu_b <= learned_above(zero_r) + EPSILON:
        return (
            f"baselines hardly learn: mean {mu_b:.2f} %, ZeroR {zero_r:.2f} %, stable networks "
            f"exceed {learned_above(zero_r):.2f} %; {found}"
        )
    return (
        f"baselines learn in some trials only: mean {mu_b:.2f} %, trials spread by {sd_b:.2f}, "
        f"more than {STABLE_SD:.0f}; {found}"
    )


def _beside(verdict: RegimeVerdict, printed: RegimeVerdict | None) -> RegimeVerdict:
    if printed is None or printed.regime in (verdict.regime, Regime.UNCLASSIFIED):
        return verdict
    reason = f"{verdict.reason}; overrules {printed.regime.value} of the printed rules"
    return replace(verdict, reason=reason, overrules=printed.regime)
