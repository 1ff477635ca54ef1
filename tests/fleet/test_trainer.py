"""A replica's bits depend on its own streams alone: not on threads, company, kills or order."""

from __future__ import annotations

from dataclasses import replace
from itertools import islice

import pytest
import torch

from antifragile.config.architecture import Architecture
from antifragile.config.specs.training import TrainingOptions
from antifragile.data.splits import Dataset
from antifragile.engine.trial import meta_loops
from antifragile.errors import UsageError
from antifragile.fleet.native.library import load_native
from antifragile.fleet.trainer import fleet_meta_loops
from tests.fleet.fleet_fakes import (
    OPTIONS,
    make_plan,
    make_specs,
    random_data,
    run_fleet,
    same_bits,
)

SHAPES = ("4*4", "1*33", "[1*40, 2*5]", "40*1")

needs_native = pytest.mark.skipif(load_native() is None, reason="the kernel was not built here")
PRECISIONS = ("fp32", "bf16")
KERNELS = [
    pytest.param("native", "fp32", marks=needs_native),
    pytest.param("native", "bf16", marks=needs_native),
    ("torch", "fp32"),
    ("torch", "bf16"),
]


@pytest.fixture(scope="module")
def single() -> Dataset:
    return random_data(dtype=torch.float32)


@needs_native
@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("threads", [2, 5])
@pytest.mark.parametrize("precision", PRECISIONS)
def test_threads_change_no_bit(single: Dataset, shape: str, threads: int, precision: str) -> None:
    specs = make_specs(shape, trials=3)
    _, one = run_fleet(specs, single, make_plan(specs, single, threads=1, precision=precision))
    plan = make_plan(specs, single, threads=threads, precision=precision)
    _, many = run_fleet(specs, single, plan)
    assert all(same_bits(a, b) for a, b in zip(one, many, strict=True))


@needs_native
@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("group_size", [1, 2, 3, 6])
@pytest.mark.parametrize("precision", PRECISIONS)
def test_company_changes_no_bit(
    single: Dataset, shape: str, group_size: int, precision: str
) -> None:
    specs = make_specs(shape)
    plan = make_plan(specs, single, precision=precision)
    _, together = run_fleet(specs, single, plan)
    _, apart = run_fleet(specs, single, replace(plan, group_size=group_size))
    assert all(same_bits(a, b) for a, b in zip(together, apart, strict=True))


@pytest.mark.parametrize("shape", ["2*7", "2*33"])
@pytest.mark.parametrize(("kernel", "precision"), KERNELS)
def test_a_missing_trial_changes_no_bit_of_the_others(
    single: Dataset, kernel: str, precision: str, shape: str
) -> None:
    specs = make_specs(shape)
    plan = make_plan(specs, single, kernel=kernel, precision=precision)
    records, states = run_fleet(specs, single, plan)
    kept = [0, 2, 3, 5, 6, 11]
    fewer_records, fewer = run_fleet([specs[i] for i in kept], single, plan)
    for i, record, state in zip(kept, fewer_records, fewer, strict=True):
        assert record == records[i]
        assert same_bits(state, states[i])


@pytest.mark.parametrize("shape", ["2*7", "2*33"])
@pytest.mark.parametrize(("kernel", "precision"), KERNELS)
def test_a_killed_run_goes_on_with_the_same_bits(
    single: Dataset, kernel: str, precision: str, shape: str
) -> None:
    specs = make_specs(shape, meta_loops=5)
    plan = make_plan(specs, single, kernel=kernel, precision=precision)
    _, whole = run_fleet(specs, single, plan)
    for _, state in islice(fleet_meta_loops(specs, single, plan=plan), 2):
        middle = state.trial_states() if min(state.meta_loop) == 2 else []
    _, resumed = run_fleet(specs, single, plan, start=list(middle))
    assert all(same_bits(a, b) for a, b in zip(whole, resumed, strict=True))


@pytest.mark.parametrize(("kernel", "precision"), KERNELS)
def test_trials_may_stand_at_different_meta_loops(
    single: Dataset, kernel: str, precision: str
) -> None:
    specs = make_specs("2*7", modes=("none", "full"), meta_loops=4)
    plan = make_plan(specs, single, kernel=kernel, precision=precision)
    _, whole = run_fleet(specs, single, plan)
    begun = next(iter(fleet_meta_loops(specs, single, plan=plan)))[1].trial_states()
    _, mixed = run_fleet(specs, single, plan, start=[begun[0], None, None, begun[3]])
    assert all(same_bits(a, b) for a, b in zip(whole, mixed, strict=True))


def test_a_finished_trial_has_no_record(single: Dataset) -> None:
    specs = make_specs("2*7", modes=("none", "full"), trials=1, meta_loops=2)
    specs[1] = replace(specs[1], meta_loops=1)
    turns = [turn for turn, _ in fleet_meta_loops(specs, single, threads=1)]
    assert [[record is not None for record in turn] for turn in turns] == [
        [True, True],
        [True, False],
    ]


def test_the_engine_can_go_on_from_a_fleets_state(data: Dataset) -> None:
    specs = make_specs("2*7", modes=("hidden",), trials=1, meta_loops=4)
    plan = make_plan(specs, data, kernel="torch")
    _, state = next(iter(fleet_meta_loops(specs, data, plan=plan)))
    records, _ = run_fleet(specs, data, plan)
    onward = list(meta_loops(specs[0], data, start=state.trial_state(0), dtype=torch.float64))
    counts = [record.validation_correct for record, _ in onward]
    assert counts == [record.validation_correct for record in records[0][1:]]


def test_seconds_are_shared_among_the_replicas(single: Dataset) -> None:
    specs = make_specs("2*7")
    turn, _ = next(iter(fleet_meta_loops(specs, single, threads=1)))
    seconds = {record.seconds for record in turn if record is not None}
    assert len(seconds) == 1
    assert 0 < seconds.pop() < 60


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"architecture": Architecture.parse("3*3")}, "share their architecture; got 2\\*7, 3\\*3"),
        ({"dataset": "other"}, "share their dataset; got other, random"),
        ({"training": TrainingOptions()}, "share their options"),
    ],
)
def test_trials_that_differ_are_refused(
    single: Dataset, change: dict[str, object], message: str
) -> None:
    specs = make_specs("2*7", options=OPTIONS)
    specs[1] = replace(specs[1], **change)
    with pytest.raises(UsageError, match=message):
        next(iter(fleet_meta_loops(specs, single)))


def test_no_trials_are_refused(single: Dataset) -> None:
    with pytest.raises(UsageError, match="at least one trial"):
        next(iter(fleet_meta_loops([], single)))
