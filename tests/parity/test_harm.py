"""Correct samples of a clone just after its ablation: the same number from every kernel."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from antifragile.config.modes import PAPER_MODES, get_mode
from antifragile.config.specs.trial import TrialSpec
from antifragile.data.splits import Dataset
from antifragile.engine.epoch import count_correct
from antifragile.engine.records import MetaLoopRecord
from antifragile.engine.trial import meta_loops
from antifragile.fleet.native.library import load_native
from antifragile.fleet.planning.plan import FleetPlan
from antifragile.fleet.trainer import fleet_meta_loops
from antifragile.model.networks import SimpleMLP
from antifragile.model.neurons import AblationTarget, ablate
from tests.fleet.fleet_fakes import make_plan, make_specs, random_data

PSA = [mode for mode in PAPER_MODES if get_mode(mode).ablation is not None]


def by_engine(spec: TrialSpec, data: Dataset, *, harm: bool = True) -> list[MetaLoopRecord]:
    turns = meta_loops(spec, data, dtype=data.train.images.dtype, harm=harm)
    return [comparable(record) for record, _ in turns]


def by_fleet(
    specs: list[TrialSpec], data: Dataset, plan: FleetPlan, *, harm: bool = True
) -> list[list[MetaLoopRecord]]:
    turns = [turn for turn, _ in fleet_meta_loops(specs, data, plan=plan, harm=harm)]
    return [[comparable(turn[i]) for turn in turns if turn[i]] for i in range(len(specs))]


def comparable(record: MetaLoopRecord | None) -> MetaLoopRecord:
    assert record is not None
    return replace(record, seconds=0.0, train_loss=round(record.train_loss, 9))


@pytest.mark.parametrize("shape", ["4*4", "1*33", "[1*40, 2*5]"])
@pytest.mark.parametrize("kernel", ["native", "torch"])
def test_every_kernel_counts_the_ablated_clone_as_the_engine_does(kernel: str, shape: str) -> None:
    data = random_data()
    if kernel == "native" and load_native() is None:
        pytest.skip("the compiled kernel was not built here")
    specs = make_specs(shape, meta_loops=8)
    plan = make_plan(specs, data, kernel=kernel)
    for spec, ours in zip(specs, by_fleet(specs, data, plan), strict=True):
        assert ours == by_engine(spec, data)


@pytest.mark.parametrize("kernel", ["native", "torch"])
def test_to_ask_changes_no_other_number_in_float32(kernel: str) -> None:
    data = random_data(dtype=torch.float32)
    if kernel == "native" and load_native() is None:
        pytest.skip("the compiled kernel was not built here")
    specs = make_specs("2*7", meta_loops=5)
    plan = make_plan(specs, data, kernel=kernel)
    asked, plain = (by_fleet(specs, data, plan, harm=harm) for harm in (True, False))
    assert [[replace(r, ablated_correct=None) for r in records] for records in asked] == plain


@pytest.mark.parametrize("mode", PSA)
def test_it_is_the_lkg_without_one_neuron(mode: str) -> None:
    data = random_data()
    (spec,) = make_specs("2*7", modes=(mode,), trials=1, meta_loops=6)
    previous = None
    for record, state in meta_loops(spec, data, dtype=torch.float64, harm=True):
        if previous is None:
            assert (record.ablated_layer, record.ablated_correct) == (None, None)
        else:
            assert record.ablated_correct == _count_without(previous, spec, record, data)
        previous = state.lkg.weights


def _count_without(weights: object, spec: TrialSpec, record: MetaLoopRecord, data: Dataset) -> int:
    assert isinstance(weights, dict)
    assert record.ablated_layer is not None
    assert record.ablated_neuron is not None
    ablation = get_mode(spec.mode).ablation
    assert ablation is not None
    target = AblationTarget(
        ablation=ablation, layer=record.ablated_layer, neuron=record.ablated_neuron
    )
    model = SimpleMLP(spec.architecture, data.n_inputs, data.n_classes, dtype=torch.float64)
    damaged = {name: value.clone() for name, value in weights.items()}
    ablate(damaged, target)
    model.load_state_dict(damaged)
    return count_correct(model, data.validation)


@pytest.mark.parametrize("mode", [mode for mode in PAPER_MODES if mode not in PSA])
def test_without_ablation_there_is_nothing_to_count(mode: str) -> None:
    (spec,) = make_specs("4*4", modes=(mode,), trials=1)
    assert {record.ablated_correct for record in by_engine(spec, random_data())} == {None}
