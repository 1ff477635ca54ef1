"""Work that two replicas share is done once, and changes no bit of either."""

from __future__ import annotations

from itertools import islice

import pytest
import torch

from antifragile.config.seeds import Pairing
from antifragile.config.specs.training import TrainingOptions
from antifragile.config.specs.trial import TrialSpec
from antifragile.data.splits import Dataset
from antifragile.engine.trial import meta_loops
from antifragile.fleet.native.kernel import NativeKernel
from antifragile.fleet.native.library import load_native
from antifragile.fleet.trainer import fleet_meta_loops
from tests.fleet.fleet_fakes import make_plan, make_specs, random_data, run_fleet, same_bits

pytestmark = pytest.mark.skipif(load_native() is None, reason="the kernel was not built here")

PLACEBO = TrainingOptions(batch_size=100, learning_rate=1e-3, weight_decay=1e-6)
ACTING = TrainingOptions(batch_size=100, learning_rate=1e-3, weight_decay=0.1)
NONE, DECAY = 0, 1


@pytest.fixture(scope="module")
def single() -> Dataset:
    return random_data(dtype=torch.float32)


@pytest.fixture
def trained(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Number of networks that every epoch trained."""
    counts: list[int] = []
    run = NativeKernel.run_epoch

    def counting(self: NativeKernel, job: object) -> object:
        counts.append(len(job.weights))  # type: ignore[attr-defined]  # an EpochJob
        return run(self, job)  # type: ignore[arg-type]

    monkeypatch.setattr(NativeKernel, "run_epoch", counting)
    return counts


def specs_of(options: TrainingOptions, **changes: object) -> list[TrialSpec]:
    return make_specs("2*5", meta_loops=4, options=options, **changes)  # type: ignore[arg-type]


def test_a_placebo_is_not_trained_again(single: Dataset, trained: list[int]) -> None:
    specs = specs_of(PLACEBO)
    run_fleet(specs, single, make_plan(specs, single))
    assert trained[0] == 2 * 2  # a fresh network per trial, and dropout
    assert all(count <= 2 * 5 for count in trained[1:])


def test_it_has_the_bits_of_one_trained_alone(single: Dataset, trained: list[int]) -> None:
    specs = specs_of(PLACEBO, trials=1)
    records, states = run_fleet(specs, single, make_plan(specs, single))
    alone = [specs[DECAY]]
    (own,), (state,) = run_fleet(alone, single, make_plan(alone, single))
    assert 1 in trained
    assert [r.validation_correct for r in own] == [r.validation_correct for r in records[DECAY]]
    assert same_bits(state, states[DECAY])
    assert same_bits(state, states[NONE])


def test_the_readable_engine_agrees(single: Dataset) -> None:
    specs = specs_of(PLACEBO, trials=1)
    records, _ = run_fleet(specs, single, make_plan(specs, single))
    engine = [record for record, _ in meta_loops(specs[DECAY], single)]
    assert [r.validation_correct for r in engine] == [r.validation_correct for r in records[DECAY]]


@pytest.mark.parametrize(
    ("options", "changes"),
    [(ACTING, {}), (PLACEBO, {"pairing": Pairing.INDEPENDENT})],
    ids=["a decay that acts", "independent trials"],
)
def test_different_work_is_done(
    single: Dataset, trained: list[int], options: TrainingOptions, changes: dict[str, object]
) -> None:
    specs = specs_of(options, modes=("none", "decay"), **changes)
    run_fleet(specs, single, make_plan(specs, single))
    assert set(trained) == {len(specs)}


def test_a_factor_that_float64_holds_acts(trained: list[int]) -> None:
    specs = specs_of(PLACEBO, modes=("none", "decay"))
    double = random_data()
    run_fleet(specs, double, make_plan(specs, double))
    assert set(trained) == {len(specs)}


def test_trials_that_stand_apart_are_both_trained(single: Dataset, trained: list[int]) -> None:
    """Equal equations, different weights: none and decay that begin in different networks."""
    specs = specs_of(PLACEBO, trials=2, modes=("none", "decay"))
    plan = make_plan(specs, single)
    *_, (_, state) = islice(fleet_meta_loops(specs, single, plan=plan), 2)
    states = state.trial_states()
    states[NONE] = states[2]  # the network of trial 2
    trained.clear()
    next(fleet_meta_loops(specs, single, start=states, plan=plan))
    assert trained == [3]
