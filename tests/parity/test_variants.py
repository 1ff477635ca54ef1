"""Modes with modifiers: the fleet's records, results and kept states are the engine's."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch

from antifragile.config.networks import Network
from antifragile.config.seeds import Pairing
from antifragile.config.specs.trial import TrialSpec
from antifragile.data.splits import Dataset
from antifragile.engine.checkpoint import load_checkpoint, save_checkpoint
from antifragile.engine.moments import Moments
from antifragile.engine.records import MetaLoopRecord
from antifragile.engine.trial import TrialState, finish, meta_loops
from antifragile.fleet.native.library import load_native
from antifragile.fleet.trainer import fleet_finish
from tests.fleet.fleet_fakes import (
    OPTIONS,
    make_plan,
    make_specs,
    random_data,
    run_fleet,
    same_bits,
)
from tests.variants import FLEETS_OF_THEIR_OWN, ONE_FLEET

KERNELS = ["native", "torch"]
DATA = random_data()


def need(kernel: str) -> None:
    if kernel == "native" and load_native() is None:
        pytest.skip("the compiled kernel was not built here")


def comparable(record: MetaLoopRecord) -> MetaLoopRecord:
    return replace(record, seconds=0.0, train_loss=round(record.train_loss, 8))


def by_engine(spec: TrialSpec, data: Dataset) -> tuple[list[MetaLoopRecord], TrialState]:
    turns = list(meta_loops(spec, data, dtype=data.train.images.dtype))
    return [comparable(record) for record, _ in turns], turns[-1][1]


def near(ours: TrialState, theirs: TrialState) -> bool:
    """Whether two states stand alike and keep the same weights but for rounding."""
    one, other = ours.kept, theirs.kept
    return (one.progress, one.weights.keys()) == (other.progress, other.weights.keys()) and all(
        float((one.weights[slot][key] - value).norm()) <= 1e-7 * (1 + float(value.norm()))
        for slot, weights in other.weights.items()
        for key, value in weights.items()
    )


def same_memory(ours: Moments | None, theirs: Moments | None) -> bool:
    if ours is None or theirs is None:
        return ours is theirs
    pairs = [(ours.first, theirs.first), (ours.second, theirs.second)]
    return ours.steps == theirs.steps and all(
        float((one[key] - value).norm()) <= 1e-7 * (1 + float(value.norm()))
        for one, other in pairs
        for key, value in other.items()
    )


FLEETS = [ONE_FLEET, *((mode,) for mode in FLEETS_OF_THEIR_OWN)]


@pytest.mark.parametrize("pairing", list(Pairing))
@pytest.mark.parametrize("modes", FLEETS, ids=["shared", *FLEETS_OF_THEIR_OWN])
@pytest.mark.parametrize("kernel", KERNELS)
def test_every_mode_of_a_fleet_leaves_the_engines_records(
    kernel: str, modes: tuple[str, ...], pairing: Pairing
) -> None:
    need(kernel)
    specs = make_specs("2*7", modes=modes, trials=1, meta_loops=9, pairing=pairing)
    plan = make_plan(specs, DATA, kernel=kernel)
    records, states = run_fleet(specs, DATA, plan)
    results = fleet_finish(specs, DATA, states, plan=plan)
    for spec, ours, state, result in zip(specs, records, states, results, strict=True):
        expected, final = by_engine(spec, DATA)
        assert [comparable(record) for record in ours] == expected, spec.mode
        assert near(state, final), spec.mode
        assert same_memory(state.moments, final.moments), spec.mode
        assert result == finish(spec, DATA, final), spec.mode


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
@pytest.mark.parametrize("kernel", KERNELS)
def test_a_fleet_goes_on_from_checkpoints_with_the_same_bits(
    kernel: str, precision: str, tmp_path: Path
) -> None:
    need(kernel)
    data = random_data(dtype=torch.float32)
    specs = make_specs("2*7", modes=ONE_FLEET, trials=1, meta_loops=7)
    plan = make_plan(specs, data, kernel=kernel, precision=precision)
    records, states = run_fleet(specs, data, plan)
    _, middle = run_fleet([replace(spec, meta_loops=3) for spec in specs], data, plan)
    loaded = []
    for number, state in enumerate(middle):
        save_checkpoint(tmp_path / str(number), state, fingerprint="f")
        loaded.append(load_checkpoint(tmp_path / str(number), fingerprint="f")[0])
    again, ends = run_fleet(specs, data, plan, start=list(loaded))
    assert again == [record[3:] for record in records]
    assert all(map(same_bits, ends, states))
    assert [end.kept.progress for end in ends] == [state.kept.progress for state in states]
    for end, state in zip(ends, states, strict=True):
        assert (end.moments is None) == (state.moments is None)
        if end.moments is not None:
            assert end.moments.steps == state.moments.steps
            pairs = [(end.moments.first, state.moments.first)]
            pairs.append((end.moments.second, state.moments.second))
            assert all(torch.equal(one[k], other[k]) for one, other in pairs for k in one)


def test_the_work_of_a_variant_is_shared_until_it_differs() -> None:
    need("native")
    data = random_data(dtype=torch.float32)
    modes = ("hidden", "hidden+patience=3")
    specs = make_specs("2*7", modes=modes, trials=1, meta_loops=12)
    records, states = run_fleet(specs, data, make_plan(specs, data))
    alone = [run_fleet([spec], data, make_plan([spec], data)) for spec in specs]
    for ours, state, ([own], [end]) in zip(records, states, alone, strict=True):
        assert ours == own
        assert same_bits(state, end)
    assert records[0] != records[1]


def test_a_perturbed_equation_goes_on_with_its_moments() -> None:
    modes = tuple(
        f"annealed_gradient_noise{more}"
        for more in ("", "+persistent", "+patience=1+persistent", "+restart=2")
    )
    specs = make_specs("2*7", modes=modes, trials=1, meta_loops=5)
    records, states = run_fleet(specs, DATA, make_plan(specs, DATA, kernel="torch"))
    for spec, ours, state in zip(specs, records, states, strict=True):
        expected, final = by_engine(spec, DATA)
        assert [comparable(record) for record in ours] == expected, spec.mode
        assert near(state, final), spec.mode
        assert same_memory(state.moments, final.moments), spec.mode


RESIDUAL = (
    *("hidden+patience=2", "none+continuous", "channel+persistent-zeroed", "full+restart=3"),
    *("hidden+reinit", "channel+noise+patience=1", "author-hidden+scattered+always-accept"),
    "dropout:2,channel+persistent:3",
)


@pytest.mark.parametrize("kernel", KERNELS)
def test_residual_networks_take_modifiers_as_in_the_engine(kernel: str) -> None:
    need(kernel)
    options = replace(OPTIONS, network=Network.RESMLP)
    specs = make_specs("3*6", modes=RESIDUAL, trials=1, meta_loops=6, options=options)
    plan = make_plan(specs, DATA, kernel=kernel)
    records, states = run_fleet(specs, DATA, plan)
    results = fleet_finish(specs, DATA, states, plan=plan)
    for spec, ours, state, result in zip(specs, records, states, results, strict=True):
        expected, final = by_engine(spec, DATA)
        assert [comparable(record) for record in ours] == expected, spec.mode
        assert near(state, final), spec.mode
        assert same_memory(state.moments, final.moments), spec.mode
        assert result == finish(spec, DATA, final), spec.mode
