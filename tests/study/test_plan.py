"""A study's plan predicts what is evaluated besides: harm, and robustness."""

from __future__ import annotations

import json
import time

import pytest

from antifragile.cli.study.plan import print_plan
from antifragile.config.architecture import Architecture
from antifragile.config.specs.training import TrainingOptions
from antifragile.config.specs.trial import TrialSpec
from antifragile.data.datasets import load_dataset
from antifragile.data.splits import Dataset
from antifragile.engine.robustness import measure_robustness
from antifragile.engine.trial import initial_weights
from antifragile.fleet.planning.cost import seconds_of_robustness, seconds_per_count
from antifragile.fleet.planning.plan import plan_fleet
from antifragile.fleet.planning.workloads import Workload, workload
from antifragile.fleet.trainer import fleet_meta_loops, make_kernel
from antifragile.study.equations import plan_trainings
from antifragile.study.options import RunOptions
from antifragile.study.plan import MissingTrial, PlanRow, plan_study
from antifragile.study.runner import preview_study
from tests.study.conftest import make_spec


def row(**evaluate: bool) -> PlanRow:
    spec = make_spec(architectures=["3*3"], modes=["none", "full"], evaluate=evaluate)
    (found,) = preview_study(spec, workers=1).rows
    return found


def work() -> Workload:
    tiny = load_dataset("tiny")
    return Workload(
        architecture=Architecture.parse("3*3"),
        n_inputs=tiny.n_inputs,
        n_classes=tiny.n_classes,
        n_train=tiny.train.n_samples,
        n_validation=tiny.validation.n_samples,
    )


def test_harm_costs_a_count_per_ablation() -> None:
    plain, harm = row(), row(harm=True)
    count = seconds_per_count(work(), harm.training.fleet.kernel, work().n_validation)
    ablations = 2 * (4 - 1)  # two trials of 'full'; meta-loop 1 ablates nothing
    assert plain.evaluation_s == 0
    assert harm.evaluation_s == pytest.approx(ablations * count)
    assert harm.seconds == pytest.approx(plain.seconds + ablations * count)


def test_robustness_costs_its_draws_per_trial() -> None:
    n_test = load_dataset("tiny").test.n_samples
    assert row(robustness=True).evaluation_s == pytest.approx(
        4 * seconds_of_robustness(work(), n_test)
    )


@pytest.mark.parametrize(("recorded", "counts"), [(0, 3), (1, 3), (3, 1), (4, 0)])
def test_recorded_meta_loops_are_not_counted_again(recorded: int, counts: int) -> None:
    spec = make_spec(architectures=["3*3"], modes=["full"], trials=1, evaluate={"harm": True})
    (trial,) = spec.trial_specs()
    begun = MissingTrial(trial_id=1, spec=trial, recorded_meta_loops=recorded)
    data, options = load_dataset("tiny"), RunOptions()
    trainings = plan_trainings(spec, data, options)
    (left,) = plan_study(spec, data, options, trainings, [begun]).rows
    one = seconds_per_count(work(), left.training.fleet.kernel, work().n_validation)
    assert left.meta_loops == 4 - recorded
    assert left.evaluation_s == pytest.approx(counts * one)


def test_the_plan_says_it(capsys: pytest.CaptureFixture[str]) -> None:
    spec = make_spec(architectures=["3*3"], evaluate={"harm": True})
    plan = preview_study(spec, workers=1)
    print_plan(plan, as_json=True)
    (said,) = json.loads(capsys.readouterr().out)["rows"]
    assert said["evaluation_seconds"] == plan.rows[0].evaluation_s > 0
    assert said["predicted_seconds"] == plan.rows[0].seconds


def measured_count_s(specs: list[TrialSpec], data: Dataset) -> float:
    """Processor seconds of counting one replica over the validation split, the best of twenty."""
    about = workload(specs, data)
    kernel = make_kernel(plan_fleet(about), about.layout, data)
    _, state = next(fleet_meta_loops(specs, data))
    seconds = []
    for _ in range(20):
        started = time.process_time()
        kernel.count_correct(state.lkg, data.validation)
        seconds.append(time.process_time() - started)
    return min(seconds) / len(specs)


@pytest.mark.slow
def test_the_predictions_are_plausible() -> None:
    """Rates of another machine: within a factor of 6 is what a plan promises."""
    digits = load_dataset("digits")
    specs = [
        TrialSpec(
            dataset="digits",
            architecture=Architecture.parse("2*512"),
            mode="full",
            trial=trial,
            meta_loops=20,
            training=TrainingOptions(batch_size=32),
        )
        for trial in range(1, 13)
    ]
    about = workload(specs, digits)
    plan = plan_fleet(about)
    predicted = seconds_per_count(about, plan.kernel, digits.validation.n_samples)
    assert predicted / 6 < measured_count_s(specs, digits) < 6 * predicted
    weights = initial_weights(specs[0], digits)
    started = time.process_time()
    measure_robustness(specs[0], digits, weights)
    measured = time.process_time() - started
    predicted = seconds_of_robustness(about, digits.test.n_samples)
    assert predicted / 6 < measured < 6 * predicted
