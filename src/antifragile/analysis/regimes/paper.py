"""The paper's four training regimes, by its four rules exactly as printed.

Applied in order, with mu the mean and P the peak over trials, B the baseline modes, A the
ablative ones, Z the ZeroR accuracy of the validation split, all in percent:

    1. architectural-failure      max P <= Z
    2. beneficial-regularization  |mu_m - mu_B| <= s for every mode m
    3. optimally-sized            mu_A < mu_B - s
    4. chaotic-optimization       every baseline P <= Z and some ablative P > Z,
                                  or mu_A > mu_B + 0.5

    s = max(population sd of the three baseline means, 0.5)

Note:
    The paper says that the rules classify all its architectures. They leave six of the 98
    without a label; the honest fifth answer is ``unclassified``.

Source: PSA paper, section II.H, equations 6-8.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pandas as pd

from antifragile.analysis.regimes.words import EPSILON, TOLERANCE, Regime, RegimeVerdict
from antifragile.config.modes import PAPER_MODES, get_mode

BASELINES = [mode for mode in PAPER_MODES if get_mode(mode).group == "baseline"]
ABLATIVES = [mode for mode in PAPER_MODES if get_mode(mode).group == "psa"]


def classify_by_paper(summary: pd.DataFrame, *, zero_r: float) -> dict[str, RegimeVerdict]:
    """Apply the printed rules to every architecture that has all six modes of the paper.

    Args:
        summary: The result of `summary.summarise`.
        zero_r: ZeroR accuracy of the validation split, percent.

    Returns:
        A verdict per architecture, in order of appearance; architectures with a mode missing
        are left out.
    """
    verdicts = {}
    for name, rows in summary.groupby("architecture", sort=False):
        means = dict(zip(rows["mode"], rows["mean"].tolist(), strict=True))
        peaks = dict(zip(rows["mode"], rows["max"].tolist(), strict=True))
        if set(PAPER_MODES) <= set(means):
            verdicts[str(name)] = _classify(means, peaks, zero_r)
    return verdicts


def _classify(
    means: Mapping[str, float], peaks: Mapping[str, float], zero_r: float
) -> RegimeVerdict:
    baselines = [means[mode] for mode in BASELINES]
    mu_b, mu_a = float(np.mean(baselines)), float(np.mean([means[mode] for mode in ABLATIVES]))
    effective = max(float(np.std(baselines)), TOLERANCE)
    distances = {mode: abs(means[mode] - mu_b) for mode in PAPER_MODES}
    farthest = max(distances, key=distances.__getitem__)
    distance = distances[farthest]
    best = max(PAPER_MODES, key=peaks.__getitem__)
    best_ablative = max(ABLATIVES, key=peaks.__getitem__)
    floor = zero_r + EPSILON

    if peaks[best] <= floor:
        reason = f"no trial exceeds ZeroR ({zero_r:.2f} %): best {peaks[best]:.2f} %"
        return RegimeVerdict(regime=Regime.FAILURE, reason=reason)
    if distance <= effective + EPSILON:
        reason = (
            f"every mean lies within {effective:.2f} of the baselines' {mu_b:.2f} %; "
            f"farthest {farthest} by {distance:.2f}"
        )
        return RegimeVerdict(regime=Regime.BENEFICIAL, reason=reason)
    if mu_a < mu_b - effective:
        reason = (
            f"ablative mean {mu_a:.2f} % lies more than {effective:.2f} below the baselines' "
            f"{mu_b:.2f} %"
        )
        return RegimeVerdict(regime=Regime.OPTIMAL, reason=reason)
    if max(peaks[mode] for mode in BASELINES) <= floor < peaks[best_ablative]:
        reason = (
            f"no baseline trial exceeds ZeroR ({zero_r:.2f} %), an ablative one does: "
            f"{best_ablative} {peaks[best_ablative]:.2f} %"
        )
        return RegimeVerdict(regime=Regime.CHAOTIC, reason=reason)
    if mu_a > mu_b + TOLERANCE:
        reason = f"ablative mean {mu_a:.2f} % exceeds the baselines' {mu_b:.2f} % by over 0.5"
        return RegimeVerdict(regime=Regime.CHAOTIC, reason=reason)
    reason = (
        f"no rule applies: baselines {mu_b:.2f} %, ablative {mu_a:.2f} %, {farthest} off by "
        f"{distance:.2f}, tolerance {effective:.2f}"
    )
    return RegimeVerdict(regime=Regime.UNCLASSIFIED, reason=reason)
