"""Checkpoints: the same bits back, atomic, never pickle, and refused when they are not ours."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from antifragile.config.specs.trial import TrialSpec
from antifragile.data.splits import Dataset
from antifragile.engine.checkpoint import load_checkpoint, save_checkpoint, trial_fingerprint
from antifragile.engine.trial import TrialState, meta_loops
from antifragile.errors import CheckpointError, WorldError


@pytest.fixture
def state(spec: TrialSpec, tiny: Dataset) -> TrialState:
    return [state for _, state in meta_loops(replace(spec, meta_loops=2), tiny)][-1]


def test_a_state_comes_back_bit_for_bit(state: TrialState, tmp_path: Path) -> None:
    path = tmp_path / "deep" / "trial.safetensors"
    save_checkpoint(path, state, fingerprint="f", notes={"mode": "none"})
    loaded, notes = load_checkpoint(path, fingerprint="f")
    assert notes == {"mode": "none"}
    assert replace(loaded, kept=state.kept) == state
    assert loaded.kept.progress == state.kept.progress
    assert loaded.lkg.bounty == state.lkg.bounty
    for name, value in state.lkg.weights.items():
        assert torch.equal(loaded.lkg.weights[name], value)
    assert [item.name for item in path.parent.iterdir()] == [path.name]


def test_a_state_of_another_trial_is_refused(state: TrialState, tmp_path: Path) -> None:
    save_checkpoint(tmp_path / "a", state, fingerprint="one")
    with pytest.raises(CheckpointError, match="belongs to another trial"):
        load_checkpoint(tmp_path / "a", fingerprint="two")


def test_the_fingerprint_covers_everything_but_the_number_of_meta_loops(spec: TrialSpec) -> None:
    mine = trial_fingerprint(spec, "data")
    assert trial_fingerprint(replace(spec, meta_loops=99), "data") == mine
    others = [
        trial_fingerprint(spec, "other data"),
        trial_fingerprint(replace(spec, seed=1), "data"),
        trial_fingerprint(replace(spec, trial=2), "data"),
        trial_fingerprint(replace(spec, mode="full"), "data"),
        trial_fingerprint(replace(spec, training=replace(spec.training, batch_size=7)), "data"),
    ]
    assert len({mine, *others}) == 6
    free = trial_fingerprint(spec, "data", any_mode=True)
    assert trial_fingerprint(replace(spec, mode="full"), "data", any_mode=True) == free


@given(st.binary(max_size=300))
def test_any_bytes_are_refused_cleanly(tmp_path_factory: pytest.TempPathFactory, content) -> None:
    path = tmp_path_factory.mktemp("fuzz") / "x.safetensors"
    path.write_bytes(content)
    with pytest.raises(CheckpointError):
        load_checkpoint(path, fingerprint=None)


@given(position=st.integers(0, 10**6), bit=st.integers(0, 7), cut=st.booleans())
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=150)
def test_a_damaged_file_is_refused(
    state: TrialState, tmp_path: Path, position: int, bit: int, cut: bool
) -> None:
    path = tmp_path / "x.safetensors"
    save_checkpoint(path, state, fingerprint="f")
    content = bytearray(path.read_bytes())
    position %= len(content)
    if cut:
        content = content[:position]
    else:
        content[position] ^= 1 << bit
    path.write_bytes(content)
    with pytest.raises(CheckpointError):
        load_checkpoint(path, fingerprint="f")


def test_a_failed_write_leaves_the_old_file_and_no_other(
    state: TrialState, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "x.safetensors"
    save_checkpoint(path, state, fingerprint="f")
    before = path.read_bytes()

    def fail(_descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.fsync", fail)
    with pytest.raises(WorldError, match="No space left on device"):
        save_checkpoint(path, state, fingerprint="g")
    assert path.read_bytes() == before
    assert [item.name for item in tmp_path.iterdir()] == [path.name]
