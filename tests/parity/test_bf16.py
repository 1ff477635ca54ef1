"""bf16 products of the compiled kernel are the engine's, with the operands of a product rounded.

The reference is the engine itself with other linear layers: in the first layer and in those of 32
inputs or more each of the three products reads bfloat16 operands and sums in float64. Tolerance:
norm-relative 2e-4 for each tensor after one epoch (mostly it is 1e-7; sums in another order now and
then round an activation to its other neighbour), and a tenth of what rounding changes at all.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace

import pytest
import torch
from torch import Tensor, nn

from antifragile.config.architecture import Architecture
from antifragile.config.seeds import Pairing
from antifragile.config.specs.training import TrainingOptions
from antifragile.config.specs.trial import TrialSpec
from antifragile.data.splits import Dataset, Split
from antifragile.engine.epoch import epoch_order
from antifragile.engine.records import MetaLoopRecord
from antifragile.engine.trial import initial_weights, meta_loops
from antifragile.fleet.kernels import EpochJob, Group
from antifragile.fleet.layout import FlatLayout
from antifragile.fleet.native.kernel import NativeKernel
from antifragile.fleet.native.library import load_native
from antifragile.fleet.planning.workloads import workload
from tests.fleet.fleet_fakes import OPTIONS, make_plan, make_specs, random_data, run_fleet

VERSIONS = [
    version
    for version in ("avx512bf16", "avx512", "avx2", "plain")
    if load_native(version) is not None
]
SHAPES = ("1*1", "4*4", "1*33", "3*35", "2*64", "2*131", "[1*40, 2*5, 1*70]")

SMALL_STEPS = replace(OPTIONS, learning_rate=1e-3)
"""Larger ones carry the few activations that round the other way through a deep network."""


class RoundedProduct(torch.autograd.Function):
    """x (B, U) times w (V, U) transposed, operands rounded in all three products."""

    @staticmethod
    def forward(ctx, x: Tensor, w: Tensor) -> Tensor:
        x, w = rounded(x), rounded(w)
        ctx.save_for_backward(x, w)
        return (x @ w.T).float()

    @staticmethod
    def backward(ctx, gradient: Tensor) -> tuple[Tensor, Tensor]:
        x, w = ctx.saved_tensors
        gradient = rounded(gradient)
        return (gradient @ w).float(), (gradient.T @ x).float()


def rounded(x: Tensor) -> Tensor:
    return x.to(torch.bfloat16).double()


@contextmanager
def rounded_linear_layers(n_inputs: int) -> Iterator[None]:
    plain = nn.Linear.forward

    def forward(layer: nn.Linear, x: Tensor) -> Tensor:
        if layer.in_features == n_inputs or layer.in_features >= 32:
            return RoundedProduct.apply(x, layer.weight) + layer.bias
        return plain(layer, x)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(nn.Linear, "forward", forward)
        yield


def by_engine(spec: TrialSpec, data: Dataset) -> dict[str, Tensor]:
    _, state = next(iter(meta_loops(spec, data)))
    return dict(state.lkg.weights)


def by_kernel(version: str, specs: list[TrialSpec], data: Dataset) -> list[dict[str, Tensor]]:
    library = load_native(version)
    assert library is not None
    layout = workload(specs, data).layout
    kernel = NativeKernel(library, layout, data, threads=1, bf16=True)
    weights = layout.empty(len(specs), torch.float32, "cpu")
    for row, spec in zip(weights, specs, strict=True):
        layout.flatten(initial_weights(spec, data), row)
    order = epoch_order(specs[0].streams().order, 1, data.train.n_samples)
    kernel.run_epoch(
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
    return [dict(layout.views(row)) for row in weights]


def difference(ours: dict[str, Tensor], other: dict[str, Tensor]) -> float:
    """The worst norm-relative difference of a tensor."""
    return max(float((ours[key] - value).norm() / value.norm()) for key, value in other.items())


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("version", VERSIONS)
def test_one_epoch_is_the_engines_with_rounded_operands(version: str, shape: str) -> None:
    data = random_data(dtype=torch.float32)
    specs = make_specs(shape, trials=1, modes=("none", "decay", "dropout"), options=SMALL_STEPS)
    for spec, ours in zip(specs, by_kernel(version, specs, data), strict=True):
        with rounded_linear_layers(data.n_inputs):
            near = difference(ours, by_engine(spec, data))
        far = difference(ours, by_engine(spec, data))
        assert near <= 2e-4
        assert 10 * near < far


@pytest.mark.parametrize("batch_size", [1, 64, 65, 130, 1000])
@pytest.mark.parametrize("version", VERSIONS)
def test_any_batch_size_will_do(version: str, batch_size: int) -> None:
    options = replace(SMALL_STEPS, batch_size=batch_size)
    data = random_data(n_train=130, dtype=torch.float32)
    assert worst(version, "1*33", data, options) <= 2e-4


@pytest.mark.parametrize("version", VERSIONS)
def test_a_dead_deep_network_is_the_engines(version: str) -> None:
    data = random_data(dtype=torch.float32)
    assert worst(version, "[30*3, 1*40, 30*2]", data, SMALL_STEPS) <= 2e-4


@pytest.mark.parametrize(("n_inputs", "n_classes"), [(1, 2), (31, 2), (64, 10), (130, 33)])
@pytest.mark.parametrize("version", VERSIONS)
def test_any_number_of_inputs_and_classes_will_do(
    version: str, n_inputs: int, n_classes: int
) -> None:
    data = random_data(n_inputs=n_inputs, n_classes=n_classes, dtype=torch.float32)
    assert worst(version, "[1*40, 1*33]", data, SMALL_STEPS) <= 2e-4


def worst(version: str, shape: str, data: Dataset, options: TrainingOptions) -> float:
    """The largest difference to the engine with rounded operands."""
    specs = make_specs(shape, trials=1, modes=("none", "dropout"), options=options)
    with rounded_linear_layers(data.n_inputs):
        expected = [by_engine(spec, data) for spec in specs]
    return max(map(difference, by_kernel(version, specs, data), expected))


@pytest.mark.parametrize("pairing", list(Pairing))
def test_ten_meta_loops_leave_the_records_of_the_engine_with_rounded_operands(
    pairing: Pairing,
) -> None:
    data = random_data(dtype=torch.float32)
    if not VERSIONS:
        pytest.skip("the compiled kernel was not built here")
    specs = make_specs("1*33", trials=1, meta_loops=10, pairing=pairing, options=SMALL_STEPS)
    records, _ = run_fleet(specs, data, make_plan(specs, data, precision="bf16"))
    with rounded_linear_layers(data.n_inputs):
        for spec, ours in zip(specs, records, strict=True):
            expected = [record for record, _ in meta_loops(spec, data)]
            assert [fields(record) for record in ours] == [fields(record) for record in expected]


def fields(record: MetaLoopRecord) -> tuple[object, ...]:
    """The outcome of an epoch beside its loss."""
    return (record.validation_correct, record.promoted, record.ablated_layer, record.ablated_neuron)


VALUES = (1 + 2**-8, 1 + 3 * 2**-8, 1 + 2**-8 + 2**-20, 1 + 2**-8 - 2**-20, 0.1, 3.39e38, 1e-30)


@pytest.mark.parametrize("value", VALUES)
@pytest.mark.parametrize("version", VERSIONS)
def test_weights_are_rounded_to_nearest_and_ties_to_even(version: str, value: float) -> None:
    expected = torch.tensor(value).to(torch.bfloat16).float()
    above = torch.nextafter(expected, torch.tensor(torch.inf))
    assert logit_reaches(version, value, expected)
    assert not logit_reaches(version, value, above)


@pytest.mark.parametrize("version", VERSIONS)
def test_a_weight_that_is_no_number_stays_none(version: str) -> None:
    assert not logit_reaches(version, float("nan"), torch.tensor(0.0))


def logit_reaches(version: str, weight: float, threshold: Tensor) -> bool:
    """Whether one input of 1 through one unit of this weight makes a logit of the threshold."""
    data = random_data(n_inputs=1, n_classes=2, dtype=torch.float32)
    layout = FlatLayout(architecture=Architecture.parse("1*1"), n_inputs=1, n_classes=2)
    library = load_native(version)
    assert library is not None
    kernel = NativeKernel(library, layout, data, threads=1, bf16=True)
    parameters = torch.tensor([[weight, 0, 1, 0, 0, float(threshold)]])  # logits: unit, threshold
    one = Split(torch.ones(1, 1), torch.zeros(1, dtype=torch.int64))
    return kernel.count_correct(parameters, one) == [1]


@pytest.mark.skipif(not VERSIONS, reason="the compiled kernel was not built here")
@pytest.mark.parametrize("shape", ["4*4", "3*35", "2*64"])
def test_versions_agree_far_closer_than_a_rounding(shape: str) -> None:
    data = random_data(dtype=torch.float32)
    specs = make_specs(shape, trials=1, modes=("none", "dropout"), options=SMALL_STEPS)
    first, *others = [by_kernel(version, specs, data) for version in VERSIONS]
    for other in others:
        assert max(map(difference, other, first)) <= 1e-5
