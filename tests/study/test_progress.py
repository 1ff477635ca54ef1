"""The share of a study that is done, and the time left, follow from its plan."""

from __future__ import annotations

from pathlib import Path

import pytest

from antifragile.config.specs.study import StudySpec
from antifragile.data.datasets import load_dataset
from antifragile.study.equations import plan_trainings
from antifragile.study.options import RunOptions
from antifragile.study.plan import missing_trials, plan_study
from antifragile.study.progress import StudyProgress
from antifragile.study.runner import preview_study, run_study
from tests.study.conftest import make_spec


def test_architectures_weigh_what_they_are_predicted_to_cost() -> None:
    plan = preview_study(make_spec(architectures=["1*4", "64*64"]), workers=1)
    small, large = plan.rows
    each = 6 * 2 * 4
    share = plan.share_done({"1*4": each})
    assert share == pytest.approx(small.seconds / (small.seconds + large.seconds))
    assert plan.share_done({"64*64": each // 2}) == pytest.approx((1 - share) / 2)


def test_nothing_is_none_and_everything_is_exactly_all() -> None:
    spec = make_spec(architectures=["1*4", "3*3", "7*5"], modes=["none", "sam"])
    plan = preview_study(spec, workers=1)
    assert plan.share_done({}) == 0
    assert plan.share_done({"1*4": 16, "3*3": 16, "7*5": 16}) == 1
    assert plan.share_done({"1*4": 99, "3*3": 99, "7*5": 99}) == 1


def test_the_share_does_not_depend_on_what_was_left_at_the_start() -> None:
    spec, data, options = make_spec(), load_dataset("tiny"), RunOptions()
    trainings = plan_trainings(spec, data, options)
    every = missing_trials(None, spec)
    whole, rest = (plan_study(spec, data, options, trainings, left) for left in (every, every[20:]))
    assert rest.seconds < whole.seconds
    assert rest.share_done({"1*4": 7}) == whole.share_done({"1*4": 7})


def test_a_listener_hears_the_beginning_and_the_end(study_spec: StudySpec, tmp_path: Path) -> None:
    heard: list[StudyProgress] = []
    run_study(study_spec, store="sqlite://", files=tmp_path, listener=heard.append)
    first, last = heard[0], heard[-1]
    assert (first.share_done, first.seconds_left, first.running) == (0, None, [])
    assert (last.share_done, last.seconds_left) == (1, 0)
    assert last.stored.n_finished == study_spec.n_trials
