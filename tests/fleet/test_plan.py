"""A plan says what will run and why, keeps its budget, and refuses what it cannot."""

from __future__ import annotations

import pytest

from antifragile.config.architecture import Architecture
from antifragile.errors import UsageError
from antifragile.fleet.native.library import load_native
from antifragile.fleet.planning import cost, plan
from antifragile.fleet.planning.cost import memory_needed
from antifragile.fleet.planning.plan import GIB, plan_fleet
from antifragile.fleet.planning.workloads import Workload, workload
from tests.fleet.fleet_fakes import make_specs, random_data

needs_native = pytest.mark.skipif(load_native() is None, reason="the kernel was not built here")


def work(architecture: str, **changes: int) -> Workload:
    return Workload(architecture=Architecture.parse(architecture), **changes)


@needs_native
def test_narrow_modes_share_a_batch_and_wide_ones_do_not() -> None:
    narrow, wide = plan_fleet(work("4*4")), plan_fleet(work("1*2048"))
    assert (narrow.kernel, narrow.group_size, narrow.fleet_size) == ("native", 6, 60)
    assert "6 modes of a trial share each batch" in narrow.reason
    assert wide.group_size == 1
    assert "would not stay in the cache" in wide.reason


@needs_native
def test_a_single_trial_is_cut_up_for_the_threads() -> None:
    assert plan_fleet(work("4*4", replicas=6), threads=2).group_size == 3


@pytest.mark.parametrize("kernel", ["torch", pytest.param("native", marks=needs_native)])
@pytest.mark.parametrize("precision", ["fp32", "bf16"])
@pytest.mark.parametrize("shape", ["1*2048", "115*115", "4*4"])
def test_memory_stays_within_the_budget(kernel: str, precision: str, shape: str) -> None:
    for budget in (GIB // 2, GIB, 4 * GIB):
        plan = plan_fleet(
            work(shape), kernel=kernel, precision=precision, memory_budget_bytes=budget
        )
        assert plan.memory_bytes <= budget
        assert 1 <= plan.fleet_size <= 60
        assert plan.fleet_size % plan.group_size == 0


def test_a_budget_too_small_says_how_much_is_needed() -> None:
    with pytest.raises(UsageError, match=r"budget of 0\.06 GiB does not hold .* 1\*2048 \(0\.\d+"):
        plan_fleet(work("1*2048"), memory_budget_bytes=GIB // 16)


@needs_native
def test_bf16_says_how_much_of_the_work_it_serves() -> None:
    wide, narrow = (plan_fleet(work(shape), precision="bf16") for shape in ("1*2048", "18*18"))
    assert (wide.kernel, wide.precision) == ("native", "bf16")
    library = load_native(bf16=True)
    assert library is not None
    if not library.has_bf16:
        assert "no faster than --precision fp32" in wide.reason
        return
    assert "bf16 products in the first layer and from 32 inputs on (100 % of" in wide.reason
    assert "(62 % of the operations)" in narrow.reason
    fp32 = plan_fleet(work("1*2048"))
    assert wide.predicted_seconds_per_meta_loop < fp32.predicted_seconds_per_meta_loop


@needs_native
def test_a_processor_without_bf16_is_told_that_it_gains_nothing(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for module in (plan, cost):
        monkeypatch.setattr(module, "load_native", lambda **_: load_native("plain"))
    slow = plan_fleet(work("1*2048"), precision="bf16")
    assert slow.kernel == "native"
    assert "computed in fp32 from rounded operands" in slow.reason
    fp32 = plan_fleet(work("1*2048"))
    assert slow.predicted_seconds_per_meta_loop == fp32.predicted_seconds_per_meta_loop


def test_rounded_operations_are_counted_by_hand() -> None:
    sizes = [(3, 40), (40, 5), (5, 2)]
    net = Workload(
        architecture=Architecture.parse("[1*40, 1*5]"),
        n_inputs=3,
        n_classes=2,
        n_train=10,
        n_validation=5,
    )
    rounded = 2 * (3 * 40 * (2 * 10 + 5) + 40 * 5 * (3 * 10 + 5))
    assert sum((a + 1) * b for a, b in sizes) == net.layout.n_parameters
    assert net.rounded_share == pytest.approx(rounded / net.flops_per_meta_loop)


def test_other_devices_take_the_torch_kernel_and_say_so() -> None:
    on_gpu = plan_fleet(work("4*4"), device="cuda")
    assert (on_gpu.kernel, on_gpu.device) == ("torch", "cuda")
    assert "runs on the CPU, not on cuda" in on_gpu.reason
    with pytest.raises(UsageError, match="kernel 'native' cannot serve"):
        plan_fleet(work("4*4"), device="cuda", kernel="native")


def test_an_unknown_precision_is_refused() -> None:
    with pytest.raises(UsageError, match="'fp8' is unknown; expected fp32, fp64, bf16"):
        plan_fleet(work("4*4"), precision="fp8")


def test_time_grows_with_work_and_shrinks_with_threads() -> None:
    seconds = [
        plan_fleet(work(shape)).predicted_seconds_per_meta_loop
        for shape in ("4*4", "1*64", "1*256", "1*2048")
    ]
    assert seconds == sorted(seconds)
    one, two = (plan_fleet(work("1*256"), threads=n) for n in (1, 2))
    assert two.predicted_seconds_per_meta_loop < one.predicted_seconds_per_meta_loop


def test_operations_are_counted_by_hand() -> None:
    tiny = Workload(
        architecture=Architecture.parse("1*2"),
        n_inputs=3,
        n_classes=2,
        n_train=10,
        n_validation=5,
    )
    parameters, first = 3 * 2 + 2 + 2 * 2 + 2, 3 * 2
    assert tiny.flops_per_meta_loop == 2 * (parameters * (3 * 10 + 5) - first * 10)


def test_modes_that_keep_more_rows_need_as_much_more_memory() -> None:
    data = random_data()
    rows = {"hidden": 0, "hidden+always-accept": 1, "hidden+patience=3": 2, "none+continuous": 3}
    rows |= {"hidden+persistent": 2, "none:2,hidden+patience=2+persistent:1": 4}
    found = {}
    for mode in rows:
        trials = workload(make_specs("2*7", modes=(mode,), trials=2), data)
        found[mode] = memory_needed(trials, "native", "fp32", 1).replica_bytes
    parameters = found["hidden"] // 8  # LKG and candidate, four bytes each
    assert {mode: size // (4 * parameters) - 2 for mode, size in found.items()} == rows
