"""Studies whose arms are modes with modifiers: run by every trainer, stopped, checked, extended."""

from __future__ import annotations

from dataclasses import replace
from itertools import accumulate
from pathlib import Path

import pytest

from antifragile.analysis.frames import meta_loops_frame, trials_frame
from antifragile.analysis.landscape import mode_group
from antifragile.config.architecture import Architecture
from antifragile.config.specs.study import StudySpec
from antifragile.config.specs.training import TrainingOptions
from antifragile.config.specs.trial import TrialSpec
from antifragile.data.datasets import load_dataset
from antifragile.study.agreement import check_weights
from antifragile.study.equations import study_equations
from antifragile.study.options import RunOptions
from antifragile.study.plan import MissingTrial
from antifragile.study.runner import StudyOutcome, extend_study, run_study
from antifragile.study.single.story import read_story
from antifragile.study.single.trial import STORY_FILE, SingleTrial, open_single_trial
from tests.study.conftest import make_spec, write_toml

MODES = [
    "none",
    "hidden",
    "hidden+patience=1",
    "full+count=2+layers=0/1",
    "none+continuous",
    "hidden+persistent-zeroed+fraction=0.3",
    "output+restart=2+noise",
    "dropout:2, output:3",
    "sam+always-accept",
    "none:2,annealed_gradient_noise:2",
    "none+learning-rate=0.02",
    "hidden+learning-rate=0.02",
    "none+learning-rate=0.02:2,none:2",
    "hidden+initialisation=he",
]


def make(**changes: object) -> StudySpec:
    return make_spec(architectures=["2*4"], modes=MODES, trials=2, meta_loops=5, **changes)


def run(spec: StudySpec, path: Path, **options: object) -> StudyOutcome:
    return run_study(spec, store=str(path / "s.db"), **options)


def content(outcome: StudyOutcome) -> tuple[str, str]:
    loops = meta_loops_frame(outcome.store, outcome.study).drop(columns="seconds")
    return loops.to_csv(index=False), trials_frame(outcome.store, outcome.study).to_csv(index=False)


def test_the_fleet_trains_what_it_can_and_the_engine_the_rest() -> None:
    found = {e.modes: (str(e.engine), e.reason) for e in study_equations(make(), RunOptions())}
    assert found[tuple(make().modes[:8])] == ("fleet", "")
    assert found[("sam+always-accept",)][0] == "plain"
    assert found[("none:2,annealed_gradient_noise:2",)] == (
        "plain",
        "no fleet changes its update equation from stretch to stretch, as "
        "none:2,annealed_gradient_noise:2 does",
    )
    assert found[("none+learning-rate=0.02", "hidden+learning-rate=0.02")] == ("fleet", "")
    assert found[("hidden+initialisation=he",)] == ("fleet", "")
    assert found[("none+learning-rate=0.02:2,none:2",)] == (
        "plain",
        "no fleet changes its learning rate from stretch to stretch, as "
        "none+learning-rate=0.02:2,none:2 does",
    )


def test_both_engines_agree_on_every_record(tmp_path: Path) -> None:
    plain, fleet = run(make(), tmp_path / "plain", engine="plain"), run(make(), tmp_path / "fleet")
    columns = ["mode", "trial", "meta_loop", "validation_correct", "bounty", "promoted"]
    ours, theirs = (meta_loops_frame(o.store, o.study)[columns] for o in (plain, fleet))
    assert ours.to_csv() == theirs.to_csv()
    peak = theirs.groupby(["mode", "trial"]).validation_correct.max()
    assert (theirs.groupby(["mode", "trial"]).bounty.last() == peak).all()


@pytest.mark.parametrize("engine", ["plain", "fleet"])
def test_a_study_that_is_extended_has_the_records_of_one_run(tmp_path: Path, engine: str) -> None:
    whole = run(make(), tmp_path / "whole", engine=engine)
    short = make_spec(architectures=["2*4"], modes=MODES, trials=2, meta_loops=2)
    begun = run(short, tmp_path / "parts", engine=engine)
    assert check_weights(begun.store, begun.study) == []
    grown = extend_study(None, store=begun.store, meta_loops=5, engine=engine)
    assert content(grown) == content(whole)
    assert check_weights(grown.store, grown.study) == []
    assert len(list(grown.files.glob("*.safetensors"))) == 2 * len(MODES)


def test_robustness_and_harm_of_variants_are_measured(tmp_path: Path) -> None:
    spec = make(evaluate={"robustness": True, "harm": True})
    outcome = run(spec, tmp_path)
    frame = meta_loops_frame(outcome.store, outcome.study)
    counted = frame.groupby("mode").ablated_correct.count()
    assert counted["output+restart=2+noise"] == 2 * 2  # meta-loops 2 and 4 of each trial
    assert counted["dropout:2,output:3"] == 2 * 3
    assert counted["full+count=2+layers=0/1"] == 2 * 4
    assert counted["none+continuous"] == 0
    planned = {
        trial.mode: MissingTrial(trial_id=0, spec=trial).ablations_left
        for trial in spec.trial_specs()
    }
    assert {mode: 2 * n for mode, n in planned.items()} == dict(counted)


def test_variants_have_a_group_of_their_own_and_survive_a_file(tmp_path: Path) -> None:
    assert {mode_group(mode) for mode in make().modes[2:]} == {"variant"}
    path = write_toml(make(), tmp_path / "spec.toml")
    assert StudySpec.from_toml(path) == make()


def trained(folder: Path, mode: str, meta_loops: int, *, resume: bool = False) -> SingleTrial:
    shape, options = Architecture.parse("2*4"), TrainingOptions(learning_rate=0.01, batch_size=8)
    spec = TrialSpec(
        dataset="tiny", architecture=shape, mode=mode, meta_loops=meta_loops, training=options
    )
    data = load_dataset("tiny")
    with open_single_trial(spec, data, folder, RunOptions(), resume=resume) as single:
        for _ in single.run():
            pass
        single.finish()
    return single


@pytest.mark.parametrize(
    "mode", ["hidden+patience=1+persistent", "output+restart=2", "none+always-accept", MODES[7]]
)
def test_a_single_trial_goes_on_as_if_it_had_not_stopped(mode: str, tmp_path: Path) -> None:
    whole = trained(tmp_path / "whole", mode, 6)
    trained(tmp_path / "parts", mode, 3)
    parts = trained(tmp_path / "parts", mode, 6, resume=True)
    records = [[replace(r, seconds=0.0) for r in trial.records] for trial in (whole, parts)]
    assert records[0] == records[1]
    assert len(read_story(tmp_path / "parts" / STORY_FILE).records) == 6
    assert whole.state is not None
    assert parts.state is not None
    assert whole.state.kept.progress == parts.state.kept.progress


def test_a_single_trial_may_change_its_rule(tmp_path: Path) -> None:
    trained(tmp_path, "hidden", 4)
    trained(tmp_path, "hidden+patience=1", 4, resume=True)
    single = trained(tmp_path, "none+continuous", 2, resume=True)
    assert [segment.mode for segment in single.segments] == [
        *("hidden", "hidden+patience=1"),
        "none+continuous",
    ]
    bounties = [record.bounty for record in single.records]
    assert bounties == list(accumulate((r.validation_correct for r in single.records), max))
    assert [record.promoted for record in single.records[8:]] == [True, True]
