"""Designs: how many runs they ask for, what they answer, and that they can be stopped anywhere."""

from collections.abc import Callable

import numpy as np
import pandas as pd
import pytest

from antifragile.ablate.designs.base import (
    BASELINE,
    CONTRIBUTION,
    INTERACTION,
    JOINT,
    AblationDesign,
    Configuration,
    Request,
)
from antifragile.ablate.designs.factorial import Factorial, two_level_signs
from antifragile.ablate.designs.leave_one_out import LeaveOneOut
from antifragile.ablate.designs.pairwise import Pairwise, redundant_pairs
from antifragile.ablate.designs.path import AFTER, AblationPath
from antifragile.ablate.designs.registry import DesignName, design_class, make_design
from antifragile.ablate.designs.shapley import Shapley
from antifragile.analysis.inference.paired import Judgement, judge_contrasts
from antifragile.errors import UsageError

WORTH = {"a": 5.0, "b": 2.0, "c": 1.0, "d": 0.0, "e": -1.0, "f": 0.5}
SEEDS = range(8)
Model = Callable[[Configuration, int], float]
ALL: dict[str, Callable[..., AblationDesign]] = {name: design_class(name) for name in DesignName}


def additive(ablated: Configuration, seed: int) -> float:
    return sum(worth for name, worth in WORTH.items() if name not in ablated) + seed


def noisy(ablated: Configuration, seed: int) -> float:
    words = [ord(letter) for name in sorted(ablated) for letter in name]
    return additive(ablated, seed) + float(np.random.default_rng([seed, *words]).normal())


def twins(ablated: Configuration, seed: int) -> float:
    """Twins a and b stand in for one another; c needs d and the other way round."""
    redundant = 0.0 if {"a", "b"} <= ablated else 6.0
    return redundant + (0.0 if {"c", "d"} & ablated else 4.0) + 0.1 * np.sin(seed + len(ablated))


def complete(
    design: AblationDesign, model: Model, *, stop_after: int | None = None
) -> dict[Request, float]:
    values: dict[Request, float] = {}
    while wanted := design.wanted(values):
        for request in wanted[:stop_after]:
            values[request] = model(*request)
    return values


def means(contrasts: pd.DataFrame, question: str = CONTRIBUTION) -> dict[str, float]:
    table = contrasts[contrasts["question"] == question]
    return {str(k): float(v) for k, v in table.groupby("target")["value"].mean().items()}


@pytest.mark.parametrize("name", ALL)
@pytest.mark.parametrize("n_components", [3, 6])
def test_on_an_additive_model_every_design_gives_the_worth(name: str, n_components: int) -> None:
    components = list(WORTH)[:n_components]
    design = ALL[name](components=components, seeds=SEEDS)
    values = complete(design, additive)
    found = means(design.contrasts(values))
    assert found == pytest.approx({c: WORTH[c] for c in components})


@pytest.mark.parametrize("name", ALL)
def test_a_design_that_is_stopped_often_asks_for_the_same_runs(name: str) -> None:
    design = ALL[name](components=list(WORTH), seeds=SEEDS)
    whole = complete(design, noisy)
    assert complete(design, noisy, stop_after=3) == whole
    assert design.wanted(whole) == []


@pytest.mark.parametrize("name", ALL)
def test_no_run_is_asked_for_twice_and_the_baseline_is_there(name: str) -> None:
    wanted = ALL[name](components=["a", "b", "c"], seeds=SEEDS).wanted({})
    assert len(set(wanted)) == len(wanted)
    assert (BASELINE, 0) in wanted


@pytest.mark.parametrize(
    ("name", "per_seed"),
    [("leave-one-out", 7), ("add-one-in", 8), ("pairwise", 22), ("factorial", 16), ("shapley", 12)],
)
def test_numbers_of_runs(name: str, per_seed: int) -> None:
    design = ALL[name](components=list(WORTH), seeds=SEEDS)
    assert len(design.wanted({})) == per_seed * len(SEEDS)


@pytest.mark.parametrize("name", ALL)
def test_failed_runs_do_not_stop_a_design(name: str) -> None:
    def failing(ablated: Configuration, seed: int) -> float:
        return float("nan") if ablated == {"a"} else additive(ablated, seed)

    design = ALL[name](components=["a", "b", "c"], seeds=SEEDS)
    judged = judge_contrasts(design.contrasts(complete(design, failing)), Judgement())
    assert judged.table["difference"].notna().all()


@pytest.mark.parametrize("name", ["leave-one-out", "add-one-in", "pairwise", "path"])
def test_what_training_cannot_do_without_is_ranked_first(name: str) -> None:
    def diverging(ablated: Configuration, seed: int) -> float:
        return (
            -np.inf if "d" in ablated and ablated != {"a", "b", "c", "d"} else noisy(ablated, seed)
        )

    design = ALL[name](components=["a", "b", "c", "d"], seeds=SEEDS)
    values = complete(design, diverging)
    judged = judge_contrasts(design.contrasts(values), Judgement())
    rows = judged.of(CONTRIBUTION)
    if name == "add-one-in":  # without all of them it trains, with one alone it does not
        assert (rows["difference"].loc[["a", "b", "c"]] == -np.inf).all()
        return
    if name == "path":
        assert list(rows.index)[-1] == "d"
        return
    assert rows["difference"].idxmax() == "d"
    assert (rows.loc["d", "difference"], rows.loc["d", "verdict"]) == (np.inf, "positive")
    assert np.isfinite(rows["difference"].loc[["a", "b", "c"]]).all()


def test_pairs_that_both_diverge_say_nothing() -> None:
    design = Pairwise(components=["a", "b"], seeds=range(10))
    values = complete(design, lambda ablated, seed: -np.inf if len(ablated) != 1 else seed)
    judged = judge_contrasts(design.contrasts(values), Judgement())
    assert set(judged.table["question"]) == {CONTRIBUTION, INTERACTION}
    assert (judged.of(CONTRIBUTION)["verdict"] == "negative").all()
    assert redundant_pairs(judged.table) == []
    hidden = complete(design, lambda ablated, seed: -np.inf if len(ablated) == 2 else 0.0)
    notes = redundant_pairs(judge_contrasts(design.contrasts(hidden), Judgement()).table)
    assert "both together let training diverge; each stands in for the other" in notes[0]


def test_pairwise_finds_redundancy_and_need() -> None:
    design = Pairwise(components=["a", "b", "c", "d"], seeds=range(10))
    judged = judge_contrasts(design.contrasts(complete(design, twins)), Judgement())
    interaction = judged.of(INTERACTION)["difference"]
    assert interaction["a & b"] == pytest.approx(6, abs=0.5)
    assert interaction["c & d"] == pytest.approx(-4, abs=0.5)
    assert judged.of(JOINT)["difference"]["a & b"] == pytest.approx(6, abs=0.5)
    assert redundant_pairs(judged.table) == [
        "Redundant: a alone shows nothing, b alone shows nothing, both together cost "
        f"{judged.of(JOINT)['difference']['a & b']:.3g}; each stands in for the other."
    ]


def test_full_factorial_interactions_are_those_of_pairs() -> None:
    full = Factorial(components=["a", "b"], seeds=SEEDS)
    pairs = Pairwise(components=["a", "b"], seeds=SEEDS)
    assert means(full.contrasts(complete(full, twins)), INTERACTION) == pytest.approx(
        means(pairs.contrasts(complete(pairs, twins)), INTERACTION)
    )


@pytest.mark.parametrize("k", [6, 8, 9, 16])
def test_folded_designs_have_main_effects_clear_of_interactions_of_two(k: int) -> None:
    signs = two_level_signs(k)
    products = np.stack([signs[:, i] * signs[:, j] for i in range(k) for j in range(i)], axis=1)
    assert (signs.T @ products == 0).all()
    assert (signs.T @ signs == len(signs) * np.eye(k)).all()
    assert (signs[0] == 1).all()
    assert len(signs) <= 4 * k


def test_shapley_values_add_up_and_share_redundancy() -> None:
    design = Shapley(components=["a", "b", "c", "d"], seeds=SEEDS)
    values = complete(design, twins)
    phi = means(design.contrasts(values))
    gaps = [values[BASELINE, s] - values[frozenset("abcd"), s] for s in SEEDS]
    assert sum(phi.values()) == pytest.approx(np.mean(gaps))
    assert (phi["a"], phi["c"]) == pytest.approx((3, 2), abs=0.2)


def test_sampled_shapley_values_add_up_in_every_seed_and_approach_the_exact_ones() -> None:
    components = ["a", "b", "c", "d"]
    seeds = range(150)
    sampled = Shapley(components=components, seeds=seeds, exact=False)
    values = complete(sampled, twins)
    table = sampled.contrasts(values)
    sums = table.groupby("seed")["value"].sum()
    gaps = [values[BASELINE, s] - values[frozenset(components), s] for s in seeds]
    assert sums.to_numpy() == pytest.approx(np.array(gaps))
    exact = Shapley(components=components, seeds=SEEDS)
    expected = means(exact.contrasts(complete(exact, twins)))
    assert means(table) == pytest.approx(expected, abs=0.4)


def test_the_path_removes_the_cheapest_first_and_racing_saves_runs() -> None:
    design = AblationPath(components=list(WORTH), seeds=range(20))
    values = complete(design, noisy)
    order = [step.component for step in design.steps(values)]
    assert order[0] == "e"
    assert order[-3:] == ["c", "b", "a"]
    without_racing = (1 + 6 * 7 // 2) * 20
    assert len(values) < 0.8 * without_racing
    after = means(design.contrasts(values), AFTER)
    assert after["a"] == pytest.approx(sum(WORTH.values()), abs=1)


def test_adaptive_seeds_go_where_the_verdict_is_open() -> None:
    design = LeaveOneOut(
        components=list(WORTH),
        seeds=range(30),
        looks=(10, 20, 30),
        judgement=Judgement(looks=3),
    )
    values = complete(design, noisy)
    spent = design.contrasts(values).groupby("target").size()
    assert spent["a"] == 10 < spent["d"]
    assert spent["d"] == 30  # worth nothing, no margin declared: stays open
    assert "looked at after 10, 20, 30 seeds" in design.notes(values, pd.DataFrame())[0]


def test_adaptive_stops_when_nothing_is_open() -> None:
    design = LeaveOneOut(
        components=["a"], seeds=range(30), looks=(10, 30), judgement=Judgement(looks=2)
    )
    assert len(complete(design, additive)) == 20


def test_too_many_or_no_components_are_refused() -> None:
    many = [str(n) for n in range(25)]
    with pytest.raises(UsageError, match="takes at most 24 components; got 25"):
        make_design(DesignName.PAIRWISE, many, SEEDS, judgement=Judgement())
    with pytest.raises(UsageError, match="has no component to ablate"):
        make_design(DesignName.PATH, [], SEEDS, judgement=Judgement())
