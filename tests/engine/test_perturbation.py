"""Perturbed update equations in the meta-loop: clean weights, a clock that goes on, own streams."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
import torch

import antifragile.engine.perturbation as module
from antifragile.config.perturbation import PERTURBATIONS, TOKEN_PRESETS
from antifragile.config.seeds import Pairing
from antifragile.config.specs.training import TrainingOptions
from antifragile.config.specs.trial import TrialSpec
from antifragile.data.splits import Dataset
from antifragile.engine.perturbation import rules_of
from antifragile.engine.trial import TrialState, initial_weights, meta_loops
from antifragile.errors import SpecError
from antifragile.optim import PRESETS

ACTS: dict[str, dict[str, float]] = {
    "pgd": {"threshold": 100.0, "wait": 1},
    "shrink_and_perturb": {"every": 2},
    "stochastic_reset": {"rate": 0.5},
}
every_preset = pytest.mark.parametrize("preset", PERTURBATIONS)


def perturbed(spec: TrialSpec, preset: str, **options: float) -> TrialSpec:
    item: Any = {"preset": preset, **ACTS.get(preset, {}), **options}
    return replace(spec, training=replace(spec.training, perturb=(item,)))


def states(spec: TrialSpec, data: Dataset, start: TrialState | None = None) -> list[TrialState]:
    return [state for _, state in meta_loops(spec, data, start=start)]


def equal(one: TrialState, other: TrialState) -> bool:
    return all(torch.equal(one.lkg.weights[k], v) for k, v in other.lkg.weights.items())


@every_preset
def test_the_table_of_presets_is_that_of_the_presets(preset: str) -> None:
    parameters = inspect.signature(PRESETS[preset]).parameters
    for name, option in PERTURBATIONS[preset].options.items():
        assert parameters[name].default == option.default
        assert type(parameters[name].default) is type(option.default)
    numbers = {n for n, p in parameters.items() if type(p.default) in (int, float)}
    assert set(PERTURBATIONS[preset].options) == numbers
    rules = PRESETS[preset]()
    assert any(rule.noise.needs_closure for rule in rules) == PERTURBATIONS[preset].needs_closure


def test_every_preset_is_in_the_table() -> None:
    assert {*PERTURBATIONS, *TOKEN_PRESETS} == set(PRESETS)


@pytest.mark.parametrize("preset", TOKEN_PRESETS)
def test_a_spec_cannot_name_what_acts_on_token_ids(preset: str) -> None:
    with pytest.raises(SpecError, match=f"'{preset}' acts on token ids, which the networks of a"):
        TrainingOptions(perturb=(preset,))


@every_preset
def test_what_a_spec_may_say_the_rules_accept(preset: str) -> None:
    for name, option in PERTURBATIONS[preset].options.items():
        for value in (option.least, option.most if option.most < 1e18 else 1000):
            PRESETS[preset](**{name: value})


@every_preset
def test_every_preset_trains_acts_and_resumes_bit_for_bit(
    preset: str, spec: TrialSpec, tiny: Dataset
) -> None:
    spec = replace(perturbed(spec, preset), mode="output", meta_loops=4)
    whole = states(spec, tiny)
    assert all(v.isfinite().all() for v in whole[-1].lkg.weights.values())
    assert not equal(whole[0], states(replace(spec, training=TrainingOptions()), tiny)[0])
    for stop in (1, 3):
        resumed = states(spec, tiny, start=whole[stop - 1])
        assert [s.final_correct for s in resumed] == [s.final_correct for s in whole[stop:]]
        assert equal(resumed[-1], whole[-1])


@every_preset
def test_a_mode_is_its_preset_at_the_defaults(preset: str, spec: TrialSpec, tiny: Dataset) -> None:
    by_mode = replace(spec, mode=preset, meta_loops=1)
    by_option = replace(spec, training=replace(spec.training, perturb=(preset,)))
    assert rules_of(by_mode.perturbations) == rules_of(by_option.perturbations)
    assert by_mode.streams().init == by_option.streams().init
    assert by_mode.streams().order == by_option.streams().order
    initial = [initial_weights(s, tiny) for s in (by_mode, by_option)]
    assert all(torch.equal(initial[0][k], initial[1][k]) for k in initial[0])


@pytest.mark.parametrize(
    ("preset", "off"),
    [
        ("annealed_gradient_noise", {"eta": 0}),
        ("random_weight_perturbation", {"gamma": 0}),
        ("anti_pgd", {"scale": 0}),
        ("sgld", {"temperature": 0}),
        ("pgd", {"radius": 0}),
        ("shrink_and_perturb", {"shrink": 1, "sigma": 0}),
        ("stochastic_reset", {"rate": 0}),
        ("input_noise", {"scale": 0}),
        ("sam", {"rho": 0}),
        ("msam", {"rho": 0}),
    ],
)
def test_a_perturbation_of_size_zero_changes_no_bit(
    preset: str, off: dict[str, float], spec: TrialSpec, tiny: Dataset
) -> None:
    spec = replace(spec, meta_loops=2)
    assert equal(states(perturbed(spec, preset, **off), tiny)[-1], states(spec, tiny)[-1])


def test_the_lkg_is_clean(spec: TrialSpec, tiny: Dataset) -> None:
    """AdamW moves a weight by about the learning rate; noise of the filter's size would by more."""
    slow = replace(spec, meta_loops=1, training=replace(spec.training, learning_rate=1e-6))
    first = initial_weights(slow, tiny)
    (state,) = states(perturbed(slow, "random_weight_perturbation", gamma=1), tiny)
    (calm,) = states(slow, tiny)
    moved = max(float((v - first[k]).abs().max()) for k, v in state.lkg.weights.items())
    assert 0 < moved < 1e-3
    assert not equal(state, calm)


def test_the_clock_counts_steps_over_all_meta_loops(
    spec: TrialSpec, tiny: Dataset, monkeypatch: pytest.MonkeyPatch
) -> None:
    begun = []

    def listening(perturb: Callable[..., Any]) -> Callable[..., Any]:
        def call(*arguments: Any, **options: Any) -> Any:
            begun.append((options["first_step"], options["seed"]))
            return perturb(*arguments, **options)

        return call

    monkeypatch.setattr(module, "perturb", listening(module.perturb))
    noisy = replace(spec, mode="annealed_gradient_noise", meta_loops=3)
    states(noisy, tiny)
    n_steps = -(-tiny.train.n_samples // spec.training.batch_size)
    seed = noisy.streams().perturbation.key64
    assert begun == [(0, seed), (n_steps, seed), (2 * n_steps, seed)]
    states(replace(noisy, mode="none"), tiny)
    assert len(begun) == 3  # nothing is attached where nothing perturbs


def test_annealed_noise_goes_on_falling(spec: TrialSpec, tiny: Dataset) -> None:
    """With gamma so large that only step 0 has noise, later meta-loops are unperturbed."""
    once = replace(perturbed(spec, "annealed_gradient_noise", gamma=1e6), meta_loops=2)
    first, second = states(once, tiny)
    calm = replace(spec, meta_loops=2)
    assert not equal(first, states(replace(calm, meta_loops=1), tiny)[0])
    assert equal(states(calm, tiny, start=first)[-1], second)


@pytest.mark.parametrize("pairing", list(Pairing))
def test_noise_is_the_trials_own(pairing: Pairing, spec: TrialSpec, tiny: Dataset) -> None:
    noisy = replace(spec, mode="annealed_gradient_noise", meta_loops=1, pairing=pairing)
    again, other = states(noisy, tiny), states(replace(noisy, trial=2), tiny)
    assert equal(states(noisy, tiny)[0], again[0])
    assert not equal(again[0], other[0])
