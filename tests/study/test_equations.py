"""Modes with the same update equation are trained together; a plan says by whom, and why."""

from __future__ import annotations

import pytest

from antifragile.cli.study.plan import print_plan
from antifragile.config.perturbation import Perturbation
from antifragile.config.specs.study import StudySpec
from antifragile.data.datasets import load_dataset
from antifragile.errors import UsageError
from antifragile.study.equations import plan_trial, study_equations
from antifragile.study.options import RunOptions
from antifragile.study.runner import preview_study
from tests.study.conftest import make_spec

AGN, RWP = "annealed_gradient_noise", "random_weight_perturbation"


def engines(spec: StudySpec, **options: object) -> list[tuple[tuple[str, ...], str]]:
    found = study_equations(spec, RunOptions(**options))
    return [(equation.modes, str(equation.engine)) for equation in found]


def test_a_study_without_perturbation_has_one_update_equation() -> None:
    spec = make_spec()
    assert engines(spec) == [(spec.modes, "fleet")]
    assert engines(spec, engine="plain") == [(spec.modes, "plain")]


def test_modes_are_grouped_by_their_update_equation() -> None:
    spec = make_spec(modes=["none", AGN, "output", RWP, "sam", "input_noise"])
    assert engines(spec) == [
        (("none", "output"), "fleet"),
        ((AGN,), "fleet"),
        ((RWP,), "fleet"),
        (("sam",), "plain"),
        (("input_noise",), "plain"),
    ]
    assert engines(spec, engine="plain") == [(spec.modes, "plain")]


def test_a_perturbation_of_every_mode_separates_none() -> None:
    spec = make_spec(modes=["none", "output"], training={"perturb": [RWP]})
    (equation,) = study_equations(spec, RunOptions())
    assert equation.perturbations == (Perturbation.of(RWP),)
    assert equation.modes == ("none", "output")


def test_the_readable_engine_computes_in_fp32_only() -> None:
    with pytest.raises(UsageError, match=r"sam evaluates the gradient twice .* got 'bf16'"):
        study_equations(make_spec(modes=["none", "sam"]), RunOptions(precision="bf16"))
    (spec,) = make_spec(architectures=["1*4"], modes=["sam"], trials=1).trial_specs()
    with pytest.raises(UsageError, match="Use --precision fp32"):
        plan_trial(spec, load_dataset("tiny"), RunOptions(precision="bf16"))


def test_a_plan_says_who_trains_which_modes_and_why(capsys: pytest.CaptureFixture[str]) -> None:
    spec = make_spec(modes=["none", "output", AGN, "sam"], architectures=["3*3"])
    plan = preview_study(spec, workers=1)
    rows = {row.training.equation.modes: row for row in plan.rows}
    kernels = {modes: row.training.fleet.kernel for modes, row in rows.items()}
    assert (len(rows[(AGN,)].trials), kernels[(AGN,)]) == (2, "torch")
    assert (len(rows[("sam",)].trials), kernels[("sam",)]) == (2, "plain")
    assert len(rows[("none", "output")].trials) == 4
    reasons = {modes: row.training.fleet.reason for modes, row in rows.items()}
    assert f"the compiled kernel has no {AGN}" in reasons[(AGN,)]
    assert reasons[("sam",)] == (
        "readable engine, sam evaluates the gradient twice a step, which no kernel does; "
        "one trial at a time"
    )
    print_plan(plan, as_json=True)
    assert '"modes": [\n' in capsys.readouterr().out


def test_the_rows_of_a_plan_cover_the_trials_of_a_study(capsys: pytest.CaptureFixture[str]) -> None:
    spec = make_spec(modes=["none", AGN, RWP])
    plan = preview_study(spec, workers=1)
    assert sum(len(row.trials) for row in plan.rows) == spec.n_trials
    print_plan(plan, as_json=False)
    assert "modes" in capsys.readouterr().out
