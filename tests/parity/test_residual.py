"""Every kernel trains residual networks as the engine does, to the tolerances of `test_kernels`."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from antifragile.config.networks import BlockNorm, Network
from antifragile.config.seeds import Pairing
from antifragile.config.specs.training import TrainingOptions
from antifragile.config.specs.trial import TrialSpec
from antifragile.data.splits import Dataset
from antifragile.engine.trial import finish, meta_loops
from antifragile.errors import UsageError
from antifragile.fleet.native.library import load_native
from antifragile.fleet.planning.plan import FleetPlan
from antifragile.fleet.trainer import fleet_meta_loops
from tests.fleet.fleet_fakes import (
    OPTIONS,
    make_plan,
    make_specs,
    random_data,
    run_fleet,
    same_bits,
)
from tests.parity.test_bf16 import SMALL_STEPS
from tests.parity.test_bf16 import VERSIONS as BF16_VERSIONS
from tests.parity.test_bf16 import worst as worst_bf16
from tests.parity.test_kernels import KERNELS, comparable, engine_run, one_epoch

RESIDUAL = replace(OPTIONS, network=Network.RESMLP)
DROPPED = replace(RESIDUAL, block_dropout=0.2)
"""Dropout inside the blocks in every mode."""

MODES = ("none", "decay", "dropout", "full", "hidden", "output", "channel", "author-hidden")
SHAPES = ("1*1", "4*4", "1*33", "3*35", "30*2", "[1*40, 2*7, 1*70]", "[3*7, 9*5]")


def skip_without(kernel: str) -> None:
    if kernel.startswith("native") and load_native() is None:
        pytest.skip("the compiled kernel was not built here")


@pytest.mark.parametrize("options", [RESIDUAL, DROPPED], ids=["", "block_dropout"])
@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("kernel", KERNELS)
def test_one_epoch_in_float64_is_the_engines(
    kernel: str, shape: str, options: TrainingOptions
) -> None:
    specs = make_specs(shape, trials=1, modes=("none", "decay", "dropout"), options=options)
    assert one_epoch(kernel, specs, random_data()) <= 1e-9


@pytest.mark.parametrize("shape", ["4*4", "1*33", "[1*40, 2*7]"])
@pytest.mark.parametrize("kernel", KERNELS)
def test_one_epoch_in_float32_is_nearly_the_engines(kernel: str, shape: str) -> None:
    options = replace(DROPPED, learning_rate=1e-3)
    specs = make_specs(shape, trials=1, modes=("none", "dropout"), options=options)
    assert one_epoch(kernel, specs, random_data(dtype=torch.float32)) <= 1e-3


@pytest.mark.parametrize("batch_size", [1, 64, 65, 130, 1000])
@pytest.mark.parametrize("kernel", KERNELS)
def test_any_batch_size_will_do(kernel: str, batch_size: int) -> None:
    options = replace(DROPPED, batch_size=batch_size)
    specs = make_specs("2*7", trials=1, modes=("none", "dropout"), options=options)
    assert one_epoch(kernel, specs, random_data(n_train=130)) <= 1e-9


@pytest.mark.parametrize("learning_rate", [0.1, 1.0])
@pytest.mark.parametrize("shape", ["30*1", "12*2", "[9*2, 9*1]"])
@pytest.mark.parametrize("kernel", KERNELS)
def test_dying_networks_are_the_engines(kernel: str, shape: str, learning_rate: float) -> None:
    """Where units die, the compiled kernel leaves out what is constant or zero."""
    options = replace(RESIDUAL, learning_rate=learning_rate)
    data = random_data()
    specs = make_specs(shape, trials=1, modes=("none", "dropout"), options=options)
    assert one_epoch(kernel, specs, data) <= 1e-9


@pytest.mark.parametrize("pairing", list(Pairing))
@pytest.mark.parametrize("shape", ["4*4", "[1*40, 2*5]"])
@pytest.mark.parametrize("kernel", ["native", "torch"])
def test_ten_meta_loops_leave_the_engines_records(
    kernel: str, shape: str, pairing: Pairing
) -> None:
    skip_without(kernel)
    data = random_data()
    specs = make_specs(
        shape, modes=MODES, trials=1, meta_loops=10, pairing=pairing, options=DROPPED
    )
    records, states = run_fleet(specs, data, make_plan(specs, data, kernel=kernel))
    for spec, ours, state in zip(specs, records, states, strict=True):
        expected, final = engine_run(spec, data)
        assert [comparable(record) for record in ours] == expected
        assert finish(spec, data, state) == finish(spec, data, final)


@pytest.mark.parametrize("kernel", ["native", "torch"])
def test_every_kernel_counts_the_ablated_clone_as_the_engine_does(kernel: str) -> None:
    skip_without(kernel)
    data = random_data()
    specs = make_specs("[1*9, 2*5]", modes=MODES, trials=1, meta_loops=6, options=RESIDUAL)
    for spec, ours in zip(specs, counts_of(specs, data, kernel), strict=True):
        turns = meta_loops(spec, data, dtype=torch.float64, harm=True)
        assert ours == [record.ablated_correct for record, _ in turns]


def counts_of(specs: list[TrialSpec], data: Dataset, kernel: str) -> list[list[int | None]]:
    plan: FleetPlan = make_plan(specs, data, kernel=kernel)
    turns = [turn for turn, _ in fleet_meta_loops(specs, data, plan=plan, harm=True)]
    return [[turn[i].ablated_correct for turn in turns] for i in range(len(specs))]


@pytest.mark.parametrize("preset", ["annealed_gradient_noise", "random_weight_perturbation"])
def test_a_perturbed_epoch_is_the_engines(preset: str) -> None:
    data = random_data()
    options = replace(DROPPED, perturb=({"preset": preset},))
    specs = make_specs("[1*9, 2*5]", modes=("none", "dropout"), trials=1, options=options)
    _, states = run_fleet(specs, data, make_plan(specs, data))
    for spec, ours in zip(specs, states, strict=True):
        _, theirs = engine_run(spec, data)
        for name, value in theirs.lkg.weights.items():
            assert torch.allclose(ours.lkg.weights[name], value, rtol=1e-9, atol=1e-9)


def test_decay_that_rounds_away_is_not_none_where_both_draw_their_own_masks() -> None:
    skip_without("native")
    data = random_data(dtype=torch.float32)
    for block_dropout in (0.0, 0.2):
        options = TrainingOptions(network=Network.RESMLP, block_dropout=block_dropout)
        specs = make_specs("2*7", modes=("none", "decay"), trials=1, options=options)
        _, (none, decay) = run_fleet(specs, data, make_plan(specs, data))
        assert same_bits(none, decay) == (block_dropout == 0)


def test_no_kernel_normalises_before_the_blocks() -> None:
    options = replace(RESIDUAL, block_norm=BlockNorm.LAYER)
    specs = make_specs("2*7", trials=1, options=options)
    words = "a fleet cannot train this: no kernel has block_norm layer. Use the readable engine"
    with pytest.raises(UsageError, match=words):
        run_fleet(specs, random_data(), make_plan(specs, random_data()))


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
@pytest.mark.parametrize("shape", ["4*4", "2*40", "[12*3, 1*70]"])
def test_a_replica_has_the_same_bits_alone_and_with_any_number_of_threads(
    shape: str, precision: str
) -> None:
    skip_without("native")
    data = random_data(dtype=torch.float32)
    specs = make_specs(shape, modes=MODES, meta_loops=4, options=DROPPED)
    plan = make_plan(specs, data, precision=precision)
    _, together = run_fleet(specs, data, plan)
    _, threads = run_fleet(specs, data, make_plan(specs, data, precision=precision, threads=3))
    assert all(same_bits(a, b) for a, b in zip(together, threads, strict=True))
    for place in (1, 5, 10):
        alone = [specs[place]]
        _, (state,) = run_fleet(alone, data, make_plan(alone, data, precision=precision))
        assert same_bits(state, together[place])


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
@pytest.mark.parametrize("kernel", ["native", "torch"])
def test_a_missing_trial_changes_no_bit_of_the_others(kernel: str, precision: str) -> None:
    skip_without(kernel)
    data = random_data(dtype=torch.float32)
    specs = make_specs("2*7", modes=MODES, options=DROPPED)
    plan = make_plan(specs, data, kernel=kernel, precision=precision)
    records, states = run_fleet(specs, data, plan)
    kept = [0, 4, 6, 7, 10, 15]
    fewer_records, fewer = run_fleet([specs[i] for i in kept], data, plan)
    for i, record, state in zip(kept, fewer_records, fewer, strict=True):
        assert record == records[i]
        assert same_bits(state, states[i])


@pytest.mark.parametrize("shape", ["3*35", "2*64", "[1*40, 2*5]"])
@pytest.mark.parametrize("version", BF16_VERSIONS)
def test_bf16_products_are_the_engines_with_rounded_operands(version: str, shape: str) -> None:
    options = replace(SMALL_STEPS, network=Network.RESMLP, block_dropout=0.2)
    data = random_data(dtype=torch.float32)
    assert worst_bf16(version, shape, data, options) <= 2e-4
