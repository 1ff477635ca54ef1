"""Checkpoints that are whole and yet no trial's: refused in a sentence that says what is wrong."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from antifragile.engine.checkpoint import load_checkpoint, save_checkpoint
from antifragile.engine.policies import KeptStates, Progress, Standing, StateSlot
from antifragile.engine.trial import TrialState
from antifragile.errors import CheckpointError

SIZES = (3, 2, 4)
WEIGHTS = {
    "layers.0.weight": torch.ones(2, 3),
    "layers.0.bias": torch.ones(2),
    "layers.1.weight": torch.ones(4, 2),
    "layers.1.bias": torch.ones(4),
}
LKG = Standing(score=5, meta_loop=2)
STATE = TrialState(
    kept=KeptStates(
        progress=Progress(meta_loop=3, lkg=LKG, best=LKG), weights={StateSlot.LKG: WEIGHTS}
    ),
    final_correct=4,
)


def with_weights(**changes: Tensor | None) -> TrialState:
    named = {name.replace("_", ".").replace("x", "_"): value for name, value in changes.items()}
    weights = {name: value for name, value in (WEIGHTS | named).items() if value is not None}
    return replace(STATE, kept=replace(STATE.kept, weights={StateSlot.LKG: weights}))


def with_numbers(**changes: Any) -> TrialState:
    progress = replace(STATE.kept.progress, meta_loop=changes.pop("meta_loop", 3))
    return replace(STATE, kept=replace(STATE.kept, progress=progress), **changes)


@pytest.mark.parametrize("value", [float("nan"), float("inf"), float("-inf")])
def test_weights_that_are_not_finite_are_refused(tmp_path: Path, value: float) -> None:
    bias = torch.tensor([1.0, value])
    save_checkpoint(tmp_path / "x", with_weights(layers_0_bias=bias), fingerprint="f")
    for sizes in (None, SIZES):
        with pytest.raises(CheckpointError, match=r"'layers\.0\.bias' holds values that are not f"):
            load_checkpoint(tmp_path / "x", fingerprint="f", layer_sizes=sizes)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"foreign": torch.ones(2)}, "'foreign' is (2,), expected nothing"),
        ({"layers_1_bias": None}, "'layers.1.bias' is missing, expected (4,)"),
        ({"layers_1_bias": torch.ones(5)}, "'layers.1.bias' is (5,), expected (4,)"),
        ({"layers_0_weight": torch.ones(3, 2)}, "'layers.0.weight' is (3, 2), expected (2, 3)"),
        ({"layers_0_bias": torch.ones(2).half()}, "'layers.0.bias' is torch.float16, expected"),
        ({"layers_0_bias": torch.ones(2).long()}, "'layers.0.bias' is torch.int64, expected"),
    ],
)
def test_the_tensors_of_another_network_are_refused(
    tmp_path: Path, changes: dict[str, Any], message: str
) -> None:
    save_checkpoint(tmp_path / "x", with_weights(**changes), fingerprint="f")
    with pytest.raises(CheckpointError) as caught:
        load_checkpoint(tmp_path / "x", fingerprint="f", layer_sizes=SIZES)
    assert message in str(caught.value)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"meta_loop": 10**400}, "meta_loop is a whole number of 1329 bits"),
        ({"meta_loop": "3"}, "meta_loop is '3'; expected a whole number"),
        ({"meta_loop": 1}, "stands at meta-loops or counts that no trial has"),
        ({"final_correct": -1}, "stands at meta-loops or counts that no trial has"),
        ({"final_correct": 1.5}, "final_correct is 1.5; expected a whole number"),
    ],
)
def test_positions_that_no_trial_has_are_refused(
    tmp_path: Path, changes: dict[str, Any], message: str
) -> None:
    save_checkpoint(tmp_path / "x", with_numbers(**changes), fingerprint="f")
    with pytest.raises(CheckpointError) as caught:
        load_checkpoint(tmp_path / "x", fingerprint="f", layer_sizes=SIZES)
    assert message in str(caught.value)


def test_a_whole_checkpoint_is_read(tmp_path: Path) -> None:
    save_checkpoint(tmp_path / "x", STATE, fingerprint="f")
    state, notes = load_checkpoint(tmp_path / "x", fingerprint="f", layer_sizes=SIZES)
    assert (state.meta_loop, notes) == (3, {})
