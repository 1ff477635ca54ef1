"""A step of the torch kernel can be recorded: always the same operations, nothing from the host."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

from antifragile.config.networks import Network
from antifragile.config.specs.training import TrainingOptions
from antifragile.fleet.torch import kernel as torch_kernel
from antifragile.fleet.torch.recorded_step import RecordedStep
from tests.fleet.fleet_fakes import (
    OPTIONS,
    make_plan,
    make_specs,
    random_data,
    run_fleet,
    same_bits,
)

RESIDUAL = replace(OPTIONS, network=Network.RESMLP, block_dropout=0.2)
FROM_OR_TO_HOST = {"_local_scalar_dense", "lift_fresh", "nonzero", "set_"}


class Listener(TorchDispatchMode):
    """Writes down every operation: its name and the shapes of its tensors."""

    def __init__(self) -> None:
        super().__init__()
        self.heard: list[tuple[str, tuple[torch.Size, ...]]] = []

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Any = None
    ) -> Any:
        shapes = tuple(a.shape for a in args if isinstance(a, Tensor))
        self.heard.append((func._schema.name.removeprefix("aten::"), shapes))
        return func(*args, **(kwargs or {}))


@pytest.mark.parametrize("options", [OPTIONS, RESIDUAL], ids=["mlp", "resmlp"])
@pytest.mark.parametrize("modes", [("none", "output"), ("none", "decay", "dropout")])
def test_every_full_step_is_the_same_sequence_of_operations(
    monkeypatch: pytest.MonkeyPatch, modes: tuple[str, ...], options: TrainingOptions
) -> None:
    steps: list[list[tuple[str, tuple[torch.Size, ...]]]] = []

    class Heard(RecordedStep):
        def __init__(self, body: Callable[[Tensor], None], rows: Tensor) -> None:
            def listened(rows: Tensor) -> None:
                with Listener() as listener:
                    body(rows)
                steps.append(listener.heard)

            super().__init__(listened, rows)

    monkeypatch.setattr(torch_kernel, "RecordedStep", Heard)
    data = random_data(n_train=450, dtype=torch.float32)  # four full batches and a short one
    specs = make_specs("3*5", modes=modes, meta_loops=1, options=options)
    run_fleet(specs, data, make_plan(specs, data, kernel="torch"))
    _, second, third, fourth, short = steps[:5]  # the first makes the optimizer's buffers
    assert second == third == fourth
    assert short != fourth
    assert len(second) > 20
    assert not FROM_OR_TO_HOST & {name for name, _ in second}


def test_without_cuda_every_batch_runs_as_it_is() -> None:
    seen: list[Tensor] = []
    batches = torch.arange(10).reshape(1, 10).split(4, dim=1)
    step = RecordedStep(seen.append, batches[0])
    for rows in batches:
        step(rows)
    assert [rows.tolist() for rows in seen] == [rows.tolist() for rows in batches]
    assert step.recording is None


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device here")
@pytest.mark.parametrize("options", [OPTIONS, RESIDUAL], ids=["mlp", "resmlp"])
def test_a_recording_gives_the_bits_of_eager_steps(
    monkeypatch: pytest.MonkeyPatch, options: TrainingOptions
) -> None:
    data = random_data(n_train=950, dtype=torch.float32).to("cuda")
    specs = make_specs("6*5", options=options)
    plan = make_plan(specs, data, kernel="torch")
    _, recorded = run_fleet(specs, data, plan)
    monkeypatch.setattr("antifragile.fleet.torch.recorded_step._WARM_UP", 10**9)
    _, eager = run_fleet(specs, data, plan)
    assert all(same_bits(a, b) for a, b in zip(recorded, eager, strict=True))
