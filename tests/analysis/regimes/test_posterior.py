"""The posterior: probabilities of the complete labels, the same for the same seed."""

from collections import Counter
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from antifragile.analysis.regimes.classification import classify_source
from antifragile.analysis.regimes.escape import fit_escape_rates, shape_coordinates
from antifragile.analysis.regimes.posterior import fit_posterior, regime_probabilities
from antifragile.analysis.regimes.words import REGIMES, Regime, RegimeRules
from antifragile.analysis.source import Source, open_source
from antifragile.errors import ArchitectureError
from tests.analysis.trial_frames import MODES, made_source

STABLE = [98.0, 98.1, 98.05, 98.2, 98.15]
DEAD = [11.02, 10.1, 11.02, 9.8, 11.02]


def landscape(edge: list[float]) -> Source:
    """Wide shapes that learn, deep ones that do not, and 8*8 between them."""
    values = {(f"1*{w}", m): STABLE for w in (64, 128, 256) for m in MODES}
    values |= {(f"{d}*4", m): DEAD for d in (100, 140, 200) for m in MODES}
    return made_source(values | {("8*8", m): edge for m in MODES})


def test_the_papers_data_decide_most_and_never_against_the_complete_rules(
    paper_trials: Path,
) -> None:
    source = open_source(str(paper_trials), zero_r=11.02)
    verdicts = classify_source(source, rules=RegimeRules.POSTERIOR, draws=400)
    complete = classify_source(source, rules=RegimeRules.COMPLETE)
    decided = {n: v for n, v in verdicts.items() if v.regime is not Regime.UNDECIDED}
    assert len(verdicts) == 98
    assert len(decided) >= 85
    assert all(v.regime is complete[n].regime for n, v in decided.items())
    assert {"1*256", "20*20", "17*4"} <= set(verdicts) - set(decided)
    for verdict in verdicts.values():
        assert verdict.probabilities is not None
        assert sum(verdict.probabilities.values()) == pytest.approx(1)
        assert verdict.probability == max(verdict.probabilities.values())


def test_the_same_seed_gives_the_same_verdicts_and_another_others() -> None:
    source = landscape([11.02, 30.0, 11.02, 11.02, 50.0])
    first, second, third = (
        classify_source(source, rules=RegimeRules.POSTERIOR, draws=300, seed=seed)
        for seed in (0, 0, 1)
    )
    assert first == second
    assert first != third


def test_undecided_below_the_probability_asked_for() -> None:
    source = landscape([11.02] * 5)
    sure = classify_source(source, rules=RegimeRules.POSTERIOR, draws=300)["8*8"]
    assert sure.probability is not None
    assert sure.probability < 0.999
    strict = classify_source(source, rules=RegimeRules.POSTERIOR, draws=300, min_probability=0.9999)
    assert strict["8*8"].regime is Regime.UNDECIDED
    assert "short of 100.0%" in strict["8*8"].reason
    assert strict["8*8"].probability == sure.probability


def test_neighbours_of_a_dead_shape_make_it_surer() -> None:
    names = ["20*20", "21*21", "22*22", "1*64"]
    coordinates = shape_coordinates(names)
    n = np.full((4, 6), 5)

    def probability_of_death(neighbours: int) -> float:
        escaped = np.array([[neighbours] * 6, [0] * 6, [neighbours] * 6, [5] * 6])
        rates = fit_escape_rates(escaped, n, coordinates)
        drawn = rates.draw(np.random.default_rng(0), 2000)[:, 1]  # (draws, M) of 21*21
        return float(((1 - drawn) ** 5).prod(axis=1).mean())

    assert probability_of_death(0) > 0.95 > probability_of_death(2)


def test_equal_trials_do_not_mean_certainty() -> None:
    values = {("1*64", m): [98.0] * 3 for m in MODES[:3]}
    values |= {("1*64", m): [97.495] * 3 for m in MODES[3:]}
    verdict = classify_source(made_source(values), rules=RegimeRules.POSTERIOR, draws=300)["1*64"]
    assert verdict.probability is not None
    assert verdict.probability < 0.95


def paired_source(shift: float, *, paired: bool) -> Source:
    """Trials whose level varies much and whose harm hardly."""
    levels = np.array([97.0, 97.4, 97.9, 98.3, 98.8, 99.0])
    values = {("1*64", m): list(levels) for m in MODES[:3]}
    values |= {("1*64", m): list(levels - shift - 0.01 * np.arange(6)) for m in MODES[3:]}
    return made_source(values, paired=paired)


def test_paired_trials_are_drawn_jointly() -> None:
    def probability(*, paired: bool) -> float:
        source = paired_source(0.75, paired=paired)
        probabilities = classify_source(source, rules=RegimeRules.POSTERIOR, draws=500)["1*64"]
        assert probabilities.probabilities is not None
        return probabilities.probabilities[Regime.OPTIMAL]

    assert probability(paired=True) > probability(paired=False) + 0.02


def test_identical_arms_stay_identical() -> None:
    source = made_source({("2*2", m): [11.02, 40.0, 11.02, 70.0] for m in MODES}, paired=True)
    posterior = fit_posterior(source.trials, zero_r=11.02, paired=True)
    shares = regime_probabilities(posterior, draws=300)
    assert shares[0, REGIMES.index(Regime.OPTIMAL)] == 0


def test_partial_single_trial_and_all_failed_studies() -> None:
    single = made_source({("1*4", m): [90.0] for m in MODES})
    assert (
        classify_source(single, rules=RegimeRules.POSTERIOR, draws=200)["1*4"].probability
        is not None
    )
    failed = made_source({(name, m): DEAD for name in ("9*9", "8*8") for m in MODES})
    verdicts = classify_source(failed, rules=RegimeRules.POSTERIOR, draws=200)
    assert Counter(v.regime for v in verdicts.values()) == {Regime.FAILURE: 2}
    partial = made_source({("1*4", "none"): STABLE, ("1*4", "full"): STABLE[:2]}, paired=True)
    assert set(classify_source(partial, rules=RegimeRules.POSTERIOR, draws=200)) == {"1*4"}
    for empty in (made_source({}), made_source({("1*4", "none"): STABLE})):
        assert [classify_source(empty, rules=rules) for rules in RegimeRules] == [{}, {}, {}]


def test_a_name_that_is_no_architecture_is_refused() -> None:
    source = made_source({("wide", m): STABLE for m in MODES})
    with pytest.raises(ArchitectureError, match="wide"):
        classify_source(source, rules=RegimeRules.POSTERIOR, draws=200)
    assert classify_source(replace(source), rules=RegimeRules.COMPLETE)["wide"].probability is None
