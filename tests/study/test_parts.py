"""Modes with one update equation are trained together; who trains them, and what is said of it."""

from __future__ import annotations

import pytest

from antifragile.cli.study.plan import print_plan
from antifragile.config.perturbation import Perturbation
from antifragile.config.study import StudySpec
from antifragile.errors import UsageError
from antifragile.study.options import RunOptions
from antifragile.study.parts import part_of, study_parts
from antifragile.study.runner import preview_study
from tests.study.conftest import make_spec

AGN, RWP = "annealed_gradient_noise", "random_weight_perturbation"


def parts(spec: StudySpec, **options: object) -> list[tuple[tuple[str, ...], str]]:
    return [(part.modes, str(part.engine)) for part in study_parts(spec, RunOptions(**options))]


def test_a_study_without_perturbation_is_one_part() -> None:
    spec = make_spec()
    assert parts(spec) == [(spec.modes, "fleet")]
    assert parts(spec, engine="plain") == [(spec.modes, "plain")]


def test_modes_are_parted_by_their_update_equation() -> None:
    spec = make_spec(modes=["none", AGN, "output", RWP, "sam", "input_noise"])
    assert parts(spec) == [
        (("none", "output"), "fleet"),
        ((AGN,), "fleet"),
        ((RWP,), "fleet"),
        (("sam",), "plain"),
        (("input_noise",), "plain"),
    ]
    assert parts(spec, engine="plain") == [(spec.modes, "plain")]


def test_what_perturbs_every_mode_parts_none() -> None:
    spec = make_spec(modes=["none", "output"], training={"perturb": [RWP]})
    (part,) = study_parts(spec, RunOptions())
    assert part.perturbations == (Perturbation.of(RWP),)
    assert part.modes == ("none", "output")


def test_the_readable_engine_computes_in_fp32_only() -> None:
    with pytest.raises(UsageError, match=r"sam evaluates the gradient twice .* got 'bf16'"):
        study_parts(make_spec(modes=["none", "sam"]), RunOptions(precision="bf16"))
    with pytest.raises(UsageError, match="Use --precision fp32"):
        part_of([Perturbation.of("sam")], "sam", RunOptions(precision="bf16"))


def test_a_plan_says_who_trains_which_modes_and_why(capsys: pytest.CaptureFixture[str]) -> None:
    spec = make_spec(modes=["none", "output", AGN, "sam"], architectures=["3*3"])
    plan = preview_study(spec, workers=1)
    rows = {row.modes: (row.trials, row.plan.kernel) for row in plan.rows}
    assert rows[(AGN,)] == (2, "torch")
    assert rows[("sam",)] == (2, "plain")
    assert rows[("none", "output")][0] == 4
    reasons = {row.modes: row.plan.reason for row in plan.rows}
    assert f"the compiled kernel has no {AGN}" in reasons[(AGN,)]
    assert reasons[("sam",)] == (
        "readable engine, sam evaluates the gradient twice a step, which no kernel does; "
        "one trial at a time"
    )
    print_plan(plan, as_json=True)
    assert '"modes": [\n' in capsys.readouterr().out


def test_the_parts_of_a_study_cover_its_trials(capsys: pytest.CaptureFixture[str]) -> None:
    spec = make_spec(modes=["none", AGN, RWP])
    plan = preview_study(spec, workers=1)
    assert sum(row.trials for row in plan.rows) == spec.n_trials
    print_plan(plan, as_json=False)
    assert "modes" in capsys.readouterr().out
