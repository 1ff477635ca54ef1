"""The planted model in short: the promises that `benchmarks/planted/truth.py` counts at length."""

from collections.abc import Iterator
from itertools import combinations

import numpy as np
import pytest
import torch

from antifragile.ablate.designs.add_one_in import AddOneIn
from antifragile.ablate.designs.base import (
    BASELINE,
    CONTRIBUTION,
    INTERACTION,
    AblationDesign,
    Request,
)
from antifragile.ablate.designs.factorial import Factorial
from antifragile.ablate.designs.leave_one_out import LeaveOneOut
from antifragile.ablate.designs.pairwise import Pairwise
from antifragile.ablate.designs.path import AblationPath
from antifragile.ablate.designs.shapley import Shapley
from antifragile.analysis.inference.paired import Judgement, judge_contrasts
from benchmarks.planted.additive import Additive, contributions
from benchmarks.planted.model import (
    COMPONENTS,
    HARMFUL,
    TWIN_A,
    TWIN_B,
    USEFUL,
    USELESS,
    planted_values,
)

SEEDS = range(10)


@pytest.fixture(scope="module", autouse=True)
def one_thread() -> Iterator[None]:
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture(scope="module")
def values() -> dict[Request, float]:
    pairs = [frozenset(pair) for pair in combinations(COMPONENTS, 2)]
    singles = [frozenset([c]) for c in COMPONENTS]
    found: dict[Request, float] = planted_values([BASELINE, *singles, *pairs], SEEDS)
    return found


def test_ten_seeds_tell_useful_harmful_and_useless_apart(values: dict[Request, float]) -> None:
    design = LeaveOneOut(components=COMPONENTS, seeds=SEEDS)
    judged = judge_contrasts(design.contrasts(values), Judgement(margin=1.0))
    verdicts = judged.of(CONTRIBUTION)["verdict"]
    assert verdicts[USEFUL] == "positive"
    assert verdicts[HARMFUL] == "negative"
    assert verdicts[USELESS] in ("open", "equivalent")


def test_pairwise_finds_the_planted_redundancy(values: dict[Request, float]) -> None:
    design = Pairwise(components=COMPONENTS, seeds=SEEDS)
    interactions = judge_contrasts(design.contrasts(values), Judgement()).of(INTERACTION)
    twins = f"{TWIN_A} & {TWIN_B}"
    assert interactions["verdict"][twins] == "positive"
    assert interactions["difference"].idxmax() == twins


def test_the_useless_component_changes_every_run_and_nothing_on_average() -> None:
    ablated = frozenset([USELESS])
    runs = planted_values([BASELINE, ablated], range(100))
    gaps = np.array([runs[BASELINE, s] - runs[ablated, s] for s in range(100)])
    assert (gaps != 0).mean() > 0.9
    assert abs(gaps.mean()) < 3 * gaps.std() / 10


def test_pairs_share_everything_but_the_ablated_component() -> None:
    alone, among = (planted_values([BASELINE], s)[BASELINE, 7] for s in ([7], [3, 7, 9]))
    assert alone == pytest.approx(among, abs=0.2)


@pytest.mark.parametrize(
    ("design", "k"),
    [
        (LeaveOneOut, 6),
        (AddOneIn, 6),
        (Factorial, 4),
        (Factorial, 8),
        (AblationPath, 6),
        (Shapley, 4),
        (Shapley, 8),
    ],
)
def test_on_an_additive_model_every_design_has_the_closed_form(
    design: type[AblationDesign], k: int
) -> None:
    model = Additive(k)
    found, _ = contributions(model, design(components=model.components, seeds=SEEDS))
    truth = np.mean([model.closed_form(seed) for seed in SEEDS], axis=0)
    assert [found[c] for c in model.components] == pytest.approx(list(truth), abs=1e-12)
