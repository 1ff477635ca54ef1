"""Regimes of a source by any of the three sets of rules."""

from __future__ import annotations

from antifragile.analysis.regimes.complete import classify_complete
from antifragile.analysis.regimes.paper import classify_by_paper
from antifragile.analysis.regimes.posterior import classify_by_posterior
from antifragile.analysis.regimes.words import RegimeRules, RegimeVerdict
from antifragile.analysis.source import Source
from antifragile.analysis.summary import Measure, summarise
from antifragile.config.modes import PAPER_MODES


def classify_source(
    source: Source,
    *,
    rules: RegimeRules = RegimeRules.COMPLETE,
    measure: Measure = Measure.PEAK,
    min_probability: float = 0.9,
    draws: int = 2000,
    seed: int = 0,
) -> dict[str, RegimeVerdict]:
    """Give every architecture its verdict.

    Args:
        source: Trials with their ZeroR and pairing.
        rules: The set of rules.
        measure: The accuracy that is judged.
        min_probability: Posterior only: least probability of a decided label.
        draws: Posterior only: number of fresh runs.
        seed: Posterior only: seed of the draws.

    Returns:
        A verdict per architecture that has the modes the rules need, in order of appearance.

    Raises:
        DataError: The trials lack the measure.
        ArchitectureError: Posterior only: a name is not an architecture.
    """
    if rules is RegimeRules.POSTERIOR:
        return classify_by_posterior(
            source.trials,
            zero_r=source.zero_r,
            paired=source.paired,
            measure=measure,
            min_probability=min_probability,
            draws=draws,
            seed=seed,
        )
    classify = classify_by_paper if rules is RegimeRules.PAPER else classify_complete
    return classify(summarise(source.trials, measure), zero_r=source.zero_r)


def modes_left_out(source: Source) -> tuple[str, ...]:
    """The modes of a source that no set of rules looks at: all but the paper's six, in order."""
    found = (str(mode) for mode in source.trials["mode"].unique())
    return tuple(mode for mode in found if mode not in PAPER_MODES)
