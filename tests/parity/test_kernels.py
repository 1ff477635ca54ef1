"""Every kernel gives the engine's numbers: weights after one epoch, and ten meta-loops of records.

Tolerances: in float64 a norm-relative difference of 1e-9 for each tensor after one epoch and
equal records; in float32 1e-3 after one epoch (summation order differs, nothing else does).
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch

from antifragile.config.modes import PAPER_MODES
from antifragile.config.seeds import Pairing
from antifragile.config.specs.training import TrainingOptions
from antifragile.config.specs.trial import TrialSpec
from antifragile.data.datasets import load_dataset
from antifragile.data.splits import Dataset
from antifragile.engine.epoch import epoch_order
from antifragile.engine.records import MetaLoopRecord
from antifragile.engine.trial import TrialState, finish, initial_weights, meta_loops
from antifragile.fleet.kernels import EpochJob, Group, Kernel
from antifragile.fleet.native.kernel import NativeKernel
from antifragile.fleet.native.library import load_native
from antifragile.fleet.planning.workloads import workload
from antifragile.fleet.torch.kernel import TorchKernel
from antifragile.fleet.trainer import fleet_finish, fleet_meta_loops
from tests.fleet.fleet_fakes import OPTIONS, make_plan, make_specs, random_data, run_fleet

VERSIONS = [version for version in ("avx512", "avx2", "plain") if load_native(version) is not None]
KERNELS = [*(f"native-{version}" for version in VERSIONS), "torch"]
SHAPES = ("1*1", "4*4", "2*7", "1*33", "3*35", "40*3", "60*1", "[1*40, 2*5, 1*70]")


def make_kernel(name: str, specs: list[TrialSpec], data: Dataset) -> Kernel:
    layout = workload(specs, data).layout
    if name == "torch":
        return TorchKernel(layout, data, groups=1, members=len(specs), threads=1)
    library = load_native(name.removeprefix("native-"))
    assert library is not None
    return NativeKernel(library, layout, data, threads=1)


def engine_run(spec: TrialSpec, data: Dataset) -> tuple[list[MetaLoopRecord], TrialState]:
    turns = list(meta_loops(spec, data, dtype=data.train.images.dtype))
    return [comparable(record) for record, _ in turns], turns[-1][1]


def comparable(record: MetaLoopRecord) -> MetaLoopRecord:
    return replace(record, seconds=0.0, train_loss=round(record.train_loss, 9))


def one_epoch(name: str, specs: list[TrialSpec], data: Dataset) -> float:
    """The worst norm-relative difference to the engine after the first meta-loop's epoch."""
    kernel = make_kernel(name, specs, data)
    weights = kernel.layout.empty(len(specs), data.train.images.dtype, "cpu")
    for row, spec in zip(weights, specs, strict=True):
        kernel.layout.flatten(initial_weights(spec, data, dtype=weights.dtype), row)
    order = epoch_order(specs[0].streams().order, 1, data.train.n_samples)
    outcome = kernel.run_epoch(
        EpochJob(
            weights=weights,
            groups=[Group(start=0, stop=len(specs), order=order)],
            options=specs[0].training,
            weight_decay=[spec.weight_decay for spec in specs],
            dropout=[spec.dropout for spec in specs],
            block_dropout=[spec.block_dropout for spec in specs],
            dropout_keys=[spec.streams().dropout.key64 for spec in specs],
            meta_loops=[1] * len(specs),
        )
    )
    worst = 0.0
    for row, spec, loss in zip(weights, specs, outcome.train_loss, strict=True):
        record, state = next(iter(meta_loops(spec, data, dtype=weights.dtype)))
        assert loss == pytest.approx(record.train_loss, rel=1e-4)
        ours = kernel.layout.views(row)
        for key, value in state.lkg.weights.items():
            difference = float((ours[key] - value).norm() / value.norm())
            worst = max(worst, difference)
    return worst


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("kernel", KERNELS)
def test_one_epoch_in_float64_is_the_engines(kernel: str, shape: str) -> None:
    specs = make_specs(shape, trials=1, modes=("none", "decay", "dropout"))
    assert one_epoch(kernel, specs, random_data()) <= 1e-9


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("kernel", KERNELS)
def test_one_epoch_in_float32_is_near_the_engines(kernel: str, shape: str) -> None:
    specs = make_specs(shape, trials=1, modes=("none", "decay", "dropout"))
    assert one_epoch(kernel, specs, random_data(dtype=torch.float32)) <= 1e-3


@pytest.mark.parametrize("batch_size", [1, 64, 65, 333, 1000])
@pytest.mark.parametrize("kernel", KERNELS)
def test_any_batch_size_will_do(kernel: str, batch_size: int) -> None:
    options = replace(OPTIONS, batch_size=batch_size)
    specs = make_specs("2*7", trials=1, modes=("none", "dropout"), options=options)
    assert one_epoch(kernel, specs, random_data()) <= 1e-9


@pytest.mark.parametrize(("n_inputs", "n_classes"), [(1, 2), (64, 10), (130, 33)])
@pytest.mark.parametrize("kernel", KERNELS)
def test_any_number_of_inputs_and_classes_will_do(
    kernel: str, n_inputs: int, n_classes: int
) -> None:
    data = random_data(n_inputs=n_inputs, n_classes=n_classes)
    specs = make_specs("2*7", trials=1, modes=("none", "dropout"))
    assert one_epoch(kernel, specs, data) <= 1e-9


@pytest.mark.parametrize("pairing", list(Pairing))
@pytest.mark.parametrize("shape", ["4*4", "[1*40, 2*5]"])
@pytest.mark.parametrize("kernel", ["native", "torch"])
def test_ten_meta_loops_leave_the_engines_records(
    kernel: str, shape: str, pairing: Pairing
) -> None:
    data = random_data()
    if kernel == "native" and not VERSIONS:
        pytest.skip("the compiled kernel was not built here")
    specs = make_specs(shape, trials=1, meta_loops=10, pairing=pairing)
    plan = make_plan(specs, data, kernel=kernel)
    records, states = run_fleet(specs, data, plan)
    for spec, ours, state in zip(specs, records, states, strict=True):
        expected, final = engine_run(spec, data)
        assert [comparable(record) for record in ours] == expected
        assert finish(spec, data, state) == finish(spec, data, final)


@pytest.mark.parametrize("kernel", ["native", "torch"])
def test_finishing_tests_the_lkg_as_the_engine_does(kernel: str) -> None:
    data = random_data()
    if kernel == "native" and not VERSIONS:
        pytest.skip("the compiled kernel was not built here")
    specs = make_specs("2*7", meta_loops=2)
    plan = make_plan(specs, data, kernel=kernel)
    states = list(fleet_meta_loops(specs, data, plan=plan))[-1][1].trial_states()
    results = fleet_finish(specs, data, states, plan=plan)
    assert results == [finish(spec, data, trial) for spec, trial in zip(specs, states, strict=True)]


@pytest.mark.parametrize("mode", PAPER_MODES)
def test_decay_that_rounds_away_in_float32_changes_no_bit(mode: str) -> None:
    data = random_data(dtype=torch.float32)
    if not VERSIONS:
        pytest.skip("the compiled kernel was not built here")
    specs = make_specs("2*7", modes=("none", "decay", mode), trials=1, options=TrainingOptions())
    _, states = run_fleet(specs, data, make_plan(specs, data))
    plain, decayed = states[0].lkg.weights, states[1].lkg.weights
    assert all(torch.equal(plain[key], decayed[key]) for key in plain)


@pytest.mark.slow
@pytest.mark.parametrize("shape", ["4*4", "18*18", "1*64", "2*50"])
@pytest.mark.parametrize("kernel", KERNELS)
def test_one_epoch_on_mnist_in_float64(kernel: str, shape: str, mnist_dir: Path) -> None:
    data = load_dataset("mnist", data_dir=mnist_dir, download=False).to("cpu", torch.float64)
    specs = make_specs(shape, trials=1, modes=("none", "dropout"), options=TrainingOptions())
    assert one_epoch(kernel, specs, data) <= 1e-9
