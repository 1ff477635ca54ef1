"""The compiled kernel is found by processor; where it is missing, torch serves and says so once."""

from __future__ import annotations

import logging
import signal
import threading
import time
from collections.abc import Iterator

import pytest
import torch

from antifragile.config.architecture import Architecture
from antifragile.fleet.native import library as native_library
from antifragile.fleet.native.library import VERSIONS, load_native
from antifragile.fleet.planning.plan import plan_fleet
from antifragile.fleet.planning.workloads import Workload
from tests.fleet.fleet_fakes import make_plan, make_specs, random_data, run_fleet
from tests.required_here import not_here


@pytest.fixture
def without_library(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    load_native.cache_clear()
    monkeypatch.setattr(native_library, "_path", lambda version: None)
    yield
    load_native.cache_clear()


@pytest.mark.usefixtures("without_library")
def test_where_it_is_missing_torch_serves_and_says_so_once(
    caplog: pytest.LogCaptureFixture,
) -> None:
    work = Workload(architecture=Architecture.parse("4*4"))
    with caplog.at_level(logging.WARNING):
        plans = [plan_fleet(work) for _ in range(3)]
    assert {plan.kernel for plan in plans} == {"torch"}
    assert "not built or cannot be loaded" in plans[0].reason
    assert caplog.text.count("torch serves instead") == 1


def test_the_kernel_that_other_tests_ask_for_is_built() -> None:
    """It is optional where the package is installed; a build that failed would skip its tests."""
    if load_native() is None or load_native("plain") is None:
        not_here("the compiled kernel was not built, or cannot be loaded")


@pytest.mark.skipif(load_native() is None, reason="the kernel was not built here")
def test_packing_puts_64_samples_side_by_side() -> None:
    library = load_native()
    assert library is not None
    images = torch.rand(70, 9)
    panels = library.pack(images)
    assert panels.shape == (2, 9, 64)
    assert torch.equal(panels[0].T, images[:64])
    assert torch.equal(panels[1, :, :6].T, images[64:])
    assert not panels[1, :, 6:].any()


@pytest.mark.skipif(load_native() is None, reason="the kernel was not built here")
@pytest.mark.parametrize("version", [v for v in VERSIONS if load_native(v) is not None])
def test_packing_bf16_puts_pairs_of_features_side_by_side(version: str) -> None:
    library = load_native(version)
    assert library is not None
    images = torch.rand(70, 9)
    panels = library.pack(images.to(torch.bfloat16))
    assert panels.shape == (2, 5, 64, 2)
    by_sample = panels.permute(0, 2, 1, 3).reshape(128, 10)
    assert torch.equal(by_sample[:70, :9], images.to(torch.bfloat16))
    assert not by_sample[70:].any()
    assert not by_sample[:, 9].any()


@pytest.mark.skipif(load_native() is None, reason="the kernel was not built here")
def test_versions_for_bf16_alone_never_serve_fp32() -> None:
    serving = load_native()
    assert serving is not None
    assert not serving.has_bf16
    assert load_native(bf16=True) is not None


@pytest.mark.skipif(load_native() is None, reason="the kernel was not built here")
def test_the_callers_denormals_are_left_alone() -> None:
    data, specs = random_data(), make_specs("2*7", trials=1, meta_loops=1)
    run_fleet(specs, data, make_plan(specs, data, threads=2))
    assert float(torch.tensor([1e-40]) * 0.5) > 0


@pytest.mark.skipif(load_native() is None, reason="the kernel was not built here")
def test_an_interrupt_stops_the_kernel_within_an_epoch() -> None:
    data = random_data(n_train=400_000)
    specs = make_specs("4*119", meta_loops=1)
    started = time.perf_counter()
    threading.Timer(1.0, signal.raise_signal, [signal.SIGINT]).start()
    with pytest.raises(KeyboardInterrupt):
        run_fleet(specs, data, make_plan(specs, data))
    assert time.perf_counter() - started < 60
