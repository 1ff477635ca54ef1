"""Trials in modes with modifiers: exact resumption, and what each modifier does to a trial."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch

from antifragile.config.networks import Initialiser
from antifragile.config.specs.trial import TrialSpec
from antifragile.data.splits import Dataset
from antifragile.engine.checkpoint import load_checkpoint, save_checkpoint
from antifragile.engine.epoch import count_correct, fresh_adamw, train_epoch
from antifragile.engine.moments import Moments
from antifragile.engine.policies import StateSlot
from antifragile.engine.records import MetaLoopRecord
from antifragile.engine.trial import TrialState, finish, initial_weights, meta_loops
from antifragile.errors import CheckpointError
from antifragile.model.networks import SimpleMLP, Weights
from tests.variants import ENGINE_ONLY, VARIANTS, unused_modifiers


def run(spec: TrialSpec, data: Dataset, **options) -> tuple[list[MetaLoopRecord], list[TrialState]]:
    turns = [(replace(record, seconds=0.0), s) for record, s in meta_loops(spec, data, **options)]
    return [record for record, _ in turns], [state for _, state in turns]


def same_weights(one: Weights, other: Weights) -> bool:
    return one.keys() == other.keys() and all(torch.equal(one[k], other[k]) for k in one)


def same_states(one: TrialState, other: TrialState) -> bool:
    moments = [item.moments or Moments(first={}, second={}, steps=0) for item in (one, other)]
    return (
        (one.kept.progress, one.final_correct) == (other.kept.progress, other.final_correct)
        and one.kept.weights.keys() == other.kept.weights.keys()
        and all(same_weights(one.kept.weights[k], other.kept.weights[k]) for k in one.kept.weights)
        and moments[0].steps == moments[1].steps
        and same_weights(moments[0].first, moments[1].first)
        and same_weights(moments[0].second, moments[1].second)
    )


def test_every_modifier_is_used_here() -> None:
    assert unused_modifiers() == set()


@pytest.mark.parametrize("mode", VARIANTS + ENGINE_ONLY)
def test_a_trial_goes_on_from_any_checkpoint_with_the_same_bits(
    mode: str, spec: TrialSpec, tiny: Dataset, tmp_path: Path
) -> None:
    spec = replace(spec, mode=mode, meta_loops=7)
    sizes = spec.architecture.layer_sizes(tiny.n_inputs, tiny.n_classes)
    records, states = run(spec, tiny)
    for done, state in enumerate(states[:-1], start=1):
        path = tmp_path / f"{done}.safetensors"
        save_checkpoint(path, state, fingerprint="f")
        loaded, _ = load_checkpoint(path, fingerprint="f", layer_sizes=sizes)
        assert same_states(loaded, state)
        again, ends = run(spec, tiny, start=loaded)
        assert again == records[done:]
        assert same_states(ends[-1], states[-1])
    assert finish(spec, tiny, ends[-1]) == finish(spec, tiny, states[-1])


@pytest.mark.parametrize("mode", VARIANTS + ENGINE_ONLY)
def test_records_tell_the_bounty_and_the_promotions(
    mode: str, spec: TrialSpec, tiny: Dataset
) -> None:
    records, states = run(replace(spec, mode=mode, meta_loops=7), tiny)
    for n, (record, state) in enumerate(zip(records, states, strict=True), start=1):
        scores = [item.validation_correct for item in records[:n]]
        assert record.bounty == max(scores) == state.best.bounty
        assert record.promoted == (state.lkg.meta_loop == n)
    result = finish(spec, tiny, states[-1])
    assert (result.peak_correct, result.peak_meta_loop) == (
        max(scores),
        scores.index(max(scores)) + 1,
    )


def test_a_modifier_of_the_training_does_what_the_option_does(
    spec: TrialSpec, tiny: Dataset
) -> None:
    own = replace(spec.training, learning_rate=0.02, initialisation=Initialiser.HE)
    mode = f"{spec.mode}+learning-rate=0.02+initialisation=he"
    assert run(replace(spec, mode=mode), tiny)[0] == run(replace(spec, training=own), tiny)[0]
    assert run(replace(spec, training=own), tiny)[0] != run(spec, tiny)[0]


def test_the_learning_rate_may_change_from_stretch_to_stretch(
    spec: TrialSpec, tiny: Dataset
) -> None:
    whole, changed = replace(spec, mode="none"), replace(spec, mode="none:2,none+learning-rate=1:2")
    (_, before, after), (_, same, other) = (run(item, tiny)[0][:3] for item in (whole, changed))
    assert before == same
    assert after.train_loss != other.train_loss


def count_on(split, spec: TrialSpec, data: Dataset, weights: Weights) -> int:
    model = SimpleMLP(spec.architecture, data.n_inputs, data.n_classes)
    model.load_state_dict(dict(weights))
    return count_correct(model, split)


def test_the_holder_of_the_bounty_is_what_is_tested(spec: TrialSpec, tiny: Dataset) -> None:
    spec = replace(spec, mode="hidden+always-accept", meta_loops=12)
    _, states = run(spec, tiny)
    (state,) = [s for s in states if s.best.meta_loop != s.lkg.meta_loop][-1:]
    assert finish(spec, tiny, state).test_correct == count_on(
        tiny.test, spec, tiny, state.best.weights
    )
    assert count_on(tiny.validation, spec, tiny, state.best.weights) == state.best.bounty
    assert count_on(tiny.validation, spec, tiny, state.lkg.weights) == state.final_correct


def test_continuous_is_ordinary_training_with_one_optimizer(spec: TrialSpec, tiny: Dataset) -> None:
    spec = replace(spec, mode="none+continuous", meta_loops=4)
    _, states = run(spec, tiny)
    model = SimpleMLP(spec.architecture, tiny.n_inputs, tiny.n_classes)
    model.load_state_dict(dict(initial_weights(spec, tiny)))
    optimizer = fresh_adamw(model, spec)
    for meta_loop, state in enumerate(states, start=1):
        train_epoch(model, tiny.train, spec, spec.streams(), meta_loop, optimizer)
        assert same_weights(model.state_dict(), state.lkg.weights)
    assert states[-1].moments.steps == 4 * -(-tiny.train.n_samples // 5)


def test_moments_go_on_when_a_candidate_fails(spec: TrialSpec, tiny: Dataset) -> None:
    records, states = run(replace(spec, mode="none+persistent", meta_loops=8), tiny)
    failed = [i for i, record in enumerate(records) if not record.promoted]
    steps = -(-tiny.train.n_samples // 5)
    assert failed
    assert [state.moments.steps for state in states] == [steps * n for n in range(1, 9)]
    assert not same_weights(states[failed[0]].moments.first, states[failed[0] - 1].moments.first)


def test_modes_that_reset_keep_no_moments(spec: TrialSpec, tiny: Dataset) -> None:
    _, states = run(replace(spec, mode="hidden:2,hidden+persistent:2,none:1", meta_loops=5), tiny)
    assert [state.moments is not None for state in states] == [False, False, True, True, False]


def test_a_restart_draws_another_network_and_forgets_the_moments(
    spec: TrialSpec, tiny: Dataset
) -> None:
    spec = replace(spec, mode="none+restart=2+persistent", meta_loops=5)
    _, states = run(spec, tiny)
    drawn = initial_weights(spec, tiny, draw=3)
    assert not same_weights(drawn, initial_weights(spec, tiny))
    assert not same_weights(drawn, initial_weights(spec, tiny, draw=5))
    steps = -(-tiny.train.n_samples // 5)
    assert [state.moments.steps // steps for state in states] == [1, 2, 1, 2, 1]
    model = SimpleMLP(spec.architecture, tiny.n_inputs, tiny.n_classes)
    model.load_state_dict(dict(drawn))
    train_epoch(model, tiny.train, spec, spec.streams(), 3)
    assert same_weights(model.state_dict(), states[2].lkg.weights)


def test_zeroed_moments_are_those_of_the_neuron_that_is_hit(
    spec: TrialSpec, tiny: Dataset, monkeypatch: pytest.MonkeyPatch
) -> None:
    kept, zeroed = [], []
    without = Moments.without

    def noting(self: Moments, masks: Weights) -> Moments:
        kept.append(self)
        zeroed.append(without(self, masks))
        return zeroed[-1]

    monkeypatch.setattr(Moments, "without", noting)
    mode = "hidden+persistent-zeroed+fixed=0/1"
    run(replace(spec, mode=mode, meta_loops=2), tiny)
    (before,), (after,) = kept, zeroed
    for one, other in ((before.first, after.first), (before.second, after.second)):
        changed = {name: value != other[name] for name, value in one.items()}
        hit = {
            "layers.0.weight": (1, slice(None)),
            "layers.0.bias": 1,
            "layers.1.weight": (slice(None), 1),
        }
        for name, value in changed.items():
            if name in hit:
                assert (other[name][hit[name]] == 0).all()
                value[hit[name]] = False
            assert not value.any()
    assert after.steps == before.steps


def test_a_paired_variant_is_its_base_until_its_modifier_acts(
    spec: TrialSpec, tiny: Dataset
) -> None:
    records, _ = run(replace(spec, mode="hidden", meta_loops=20), tiny)
    patient, states = run(replace(spec, mode="hidden+patience=2", meta_loops=20), tiny)
    steps_back = [i for i, s in enumerate(states) if s.lkg.meta_loop != s.best.meta_loop]
    assert steps_back, "the trial must step back for this test"
    assert patient[: steps_back[0]] == records[: steps_back[0]]


def test_several_neurons_are_recorded_by_the_first(spec: TrialSpec, tiny: Dataset) -> None:
    one, _ = run(replace(spec, mode="hidden", meta_loops=2), tiny, harm=True)
    two, _ = run(replace(spec, mode="hidden+count=2", meta_loops=2), tiny, harm=True)
    assert (two[1].ablated_layer, two[1].ablated_neuron) == (
        one[1].ablated_layer,
        one[1].ablated_neuron,
    )
    assert two[1].ablated_correct is not None


@pytest.mark.parametrize("slot", [StateSlot.BEST, StateSlot.RECENT])
def test_a_checkpoint_that_lacks_a_state_is_refused(
    slot: StateSlot, spec: TrialSpec, tiny: Dataset, tmp_path: Path
) -> None:
    _, states = run(replace(spec, mode="hidden+patience=2", meta_loops=12), tiny)
    state = next(state for state in states if slot in state.kept.weights)
    weights = {k: v for k, v in state.kept.weights.items() if k is not slot}
    broken = replace(state, kept=replace(state.kept, weights=weights))
    save_checkpoint(tmp_path / "x", broken, fingerprint="f")
    with pytest.raises(CheckpointError, match=f"lacks the weights of {slot}"):
        load_checkpoint(tmp_path / "x", fingerprint="f")


@pytest.mark.parametrize(
    "changes", [{"failures": -1}, {"rate": 0}, {"patience": -2}, {"failures": 1.5}]
)
def test_a_checkpoint_with_counts_that_no_trial_has_is_refused(
    changes: dict, spec: TrialSpec, tiny: Dataset, tmp_path: Path
) -> None:
    _, states = run(replace(spec, mode="hidden+patience=2", meta_loops=3), tiny)
    progress = replace(states[-1].kept.progress, **changes)
    broken = replace(states[-1], kept=replace(states[-1].kept, progress=progress))
    save_checkpoint(tmp_path / "x", broken, fingerprint="f")
    with pytest.raises(CheckpointError, match="is damaged: further"):
        load_checkpoint(tmp_path / "x", fingerprint="f")
