"""Perturbed update equations: the fleet draws the engine's noise and ends at the engine's numbers.

Options are chosen so that every preset acts within an epoch of four steps. Tolerances are those of
`test_kernels`: 1e-9 for each tensor after one epoch in float64, and equal counts and promotions.
"""

from __future__ import annotations

from dataclasses import replace
from itertools import islice
from typing import Any

import pytest
import torch

from antifragile.config.perturbation import PERTURBATIONS
from antifragile.config.specs.training import TrainingOptions
from antifragile.config.specs.trial import TrialSpec
from antifragile.data.splits import Dataset
from antifragile.engine.trial import TrialState, meta_loops
from antifragile.errors import UsageError
from antifragile.fleet.planning.plan import plan_fleet
from antifragile.fleet.planning.workloads import workload
from antifragile.fleet.trainer import fleet_meta_loops
from tests.fleet.fleet_fakes import (
    OPTIONS,
    make_plan,
    make_specs,
    random_data,
    run_fleet,
    same_bits,
)

ACTS: dict[str, dict[str, float]] = {
    "pgd": {"radius": 0.5, "threshold": 100.0, "wait": 1},
    "sgld": {"n_samples": 1000},
    "psgld": {"n_samples": 1000, "floor": 0.1},
    "anti_pgd": {"scale": 0.1},
    "random_weight_perturbation": {"gamma": 0.1},
    "shrink_and_perturb": {"shrink": 0.9, "every": 3},
    "stochastic_reset": {"rate": 0.5, "fraction": 0.3},
}
FLEET = [name for name, facts in PERTURBATIONS.items() if facts.batched and not facts.needs_closure]
every_preset = pytest.mark.parametrize("preset", FLEET)


def perturbed(*presets: str) -> TrainingOptions:
    items: list[Any] = [{"preset": name, **ACTS.get(name, {})} for name in presets]
    return replace(OPTIONS, perturb=tuple(items))


def specs_of(shape: str, *presets: str, **options: Any) -> list[TrialSpec]:
    return make_specs(shape, **({"modes": ("none",)} | options), options=perturbed(*presets))


def engine_states(spec: TrialSpec, data: Dataset) -> list[tuple[Any, TrialState]]:
    return list(meta_loops(spec, data, dtype=data.train.images.dtype))


def distance(ours: TrialState, theirs: TrialState) -> float:
    """The worst norm-relative difference of a tensor."""
    return max(
        float((ours.lkg.weights[key] - value).norm() / value.norm())
        for key, value in theirs.lkg.weights.items()
    )


@every_preset
@pytest.mark.parametrize("shape", ["4*4", "[1*40, 2*5]"])
def test_one_epoch_is_the_engines_and_not_the_unperturbed_one(shape: str, preset: str) -> None:
    data = random_data()
    specs = specs_of(shape, preset, meta_loops=1)
    _, states = run_fleet(specs, data, make_plan(specs, data))
    for spec, ours in zip(specs, states, strict=True):
        ((_, theirs),) = engine_states(spec, data)
        assert distance(ours, theirs) <= 1e-9
        ((_, calm),) = engine_states(replace(spec, training=OPTIONS), data)
        assert distance(ours, calm) > 1e-6


@every_preset
def test_ten_meta_loops_leave_the_engines_counts_and_promotions(preset: str) -> None:
    data = random_data()
    specs = specs_of("2*7", preset, meta_loops=10, modes=("none", "output"), trials=1)
    records, _ = run_fleet(specs, data, make_plan(specs, data))
    for spec, ours in zip(specs, records, strict=True):
        theirs = [record for record, _ in engine_states(spec, data)]
        for a, b in zip(ours, theirs, strict=True):
            assert replace(a, train_loss=0.0) == replace(b, train_loss=0.0, seconds=0.0)
            assert a.train_loss == pytest.approx(b.train_loss, rel=1e-9)


def test_several_rules_act_together_beside_decay_and_dropout() -> None:
    data = random_data()
    options = replace(perturbed("random_weight_perturbation", "pgd"), weight_decay=0.5)
    modes = ("none", "decay", "dropout", "annealed_gradient_noise")
    specs = make_specs("2*7", modes=modes, trials=2, meta_loops=4, options=options)
    for part in (modes[:3], modes[3:]):
        own = [spec for spec in specs if spec.mode in part]
        _, states = run_fleet(own, data, make_plan(own, data))
        for spec, ours in zip(own, states, strict=True):
            assert distance(ours, engine_states(spec, data)[-1][1]) <= 1e-9


@every_preset
def test_a_missing_trial_or_a_kill_changes_no_bit(preset: str) -> None:
    data = random_data(dtype=torch.float32)
    specs = specs_of("2*7", preset, meta_loops=4, trials=7)
    plan = make_plan(specs, data)
    _, whole = run_fleet(specs, data, plan)
    kept = [1, 2, 6]
    _, fewer = run_fleet([specs[i] for i in kept], data, plan)
    assert all(same_bits(whole[i], state) for i, state in zip(kept, fewer, strict=True))
    middle: list[TrialState] = []
    for _, state in islice(fleet_meta_loops(specs, data, plan=plan), 2):
        middle = state.trial_states()
    mixed = [None if i == 3 else state for i, state in enumerate(middle)]  # one starts anew
    _, resumed = run_fleet(specs, data, plan, start=mixed)
    assert all(same_bits(a, b) for a, b in zip(whole, resumed, strict=True))


@pytest.mark.parametrize("preset", ["sam", "asam", "input_noise"])
def test_what_no_kernel_has_is_refused(preset: str) -> None:
    data = random_data()
    specs = specs_of("2*7", preset)
    with pytest.raises(UsageError, match=rf"{preset}.*Use the readable engine"):
        plan_fleet(workload(specs, data))


def test_trials_of_different_equations_make_no_fleet() -> None:
    specs = make_specs("2*7", modes=("none", "annealed_gradient_noise"), trials=1)
    with pytest.raises(UsageError, match="share their perturbations; got annealed_gradient_noise"):
        next(iter(fleet_meta_loops(specs, random_data())))


def test_the_compiled_kernel_cannot_be_insisted_on() -> None:
    specs = make_specs("2*7", modes=("annealed_gradient_noise",))
    work = workload(specs, random_data())
    assert plan_fleet(work).kernel == "torch"
    with pytest.raises(UsageError, match=r"has no annealed_gradient_noise\. Use 'torch'"):
        plan_fleet(work, kernel="native")
