"""Running, resuming and extending studies in one process."""

import hashlib
from dataclasses import replace
from pathlib import Path

import pandas as pd
import pytest

from antifragile.analysis.frames import meta_loops_frame, robustness_frame, trials_frame
from antifragile.config.specs.evaluate import EvaluateOptions
from antifragile.config.specs.study import StudySpec
from antifragile.errors import StoreError, UsageError
from antifragile.store.owner import OwnedKind
from antifragile.store.store import Store
from antifragile.study.progress import StudyProgress
from antifragile.study.runner import StudyOutcome, extend_study, run_study


def run(spec: StudySpec, path: Path, **options: object) -> StudyOutcome:
    return run_study(spec, store=str(path / "s.db"), **options)


def content(store: Store) -> dict[str, object]:
    """Everything a study stored, times aside."""
    study = store.study()
    loops = meta_loops_frame(store, study).drop(columns="seconds")
    return {
        "loops": loops.to_csv(index=False),
        "trials": trials_frame(store, study).to_csv(index=False),
    }


def weights(outcome: StudyOutcome) -> dict[str, str]:
    return {
        path.name: hashlib.sha256(path.read_bytes()).hexdigest()
        for path in outcome.files.glob("*.safetensors")
    }


def test_every_trial_has_every_record(study_spec: StudySpec, tmp_path: Path) -> None:
    outcome = run(study_spec, tmp_path)
    frame = meta_loops_frame(outcome.store, outcome.study)
    assert outcome.n_run == study_spec.n_trials == 24
    counted = frame.groupby(["architecture", "mode", "trial"]).meta_loop.agg(list)
    assert len(counted) == 24
    assert all(loops == [1, 2, 3, 4] for loops in counted)
    assert set(frame.kernel.str.split().str[0]) == {"fleet"}
    assert set(frame.threads) == {1}
    results = trials_frame(outcome.store, outcome.study)
    assert (results.peak_correct >= results.final_correct).all()
    assert (results.test_accuracy <= 100).all()
    assert len(weights(outcome)) == 24


def test_both_engines_agree_on_every_record(study_spec: StudySpec, tmp_path: Path) -> None:
    plain = run(study_spec, tmp_path / "plain", engine="plain")
    fleet = run(study_spec, tmp_path / "fleet")
    ours, theirs = (meta_loops_frame(o.store, o.study) for o in (plain, fleet))
    assert set(ours.kernel) == {"plain"}
    same = ["architecture", "mode", "trial", "meta_loop", "ablated_layer", "ablated_neuron"]
    assert ours[same].equals(theirs[same])
    # Sums in another order: near ties on 16 validation samples may fall either way.
    agreeing = (ours.validation_correct == theirs.validation_correct).mean()
    assert agreeing > 0.98
    assert (ours.train_loss - theirs.train_loss).abs().max() < 1e-3


@pytest.mark.parametrize("engine", ["fleet", "plain"])
def test_one_missing_trial_changes_no_other(
    engine: str, study_spec: StudySpec, tmp_path: Path
) -> None:
    whole = run(study_spec, tmp_path / "whole", engine=engine)
    fewer = run(
        replace(study_spec, modes=("none", "output"), trials=1), tmp_path / "few", engine=engine
    )
    keys = ["architecture", "mode", "trial", "meta_loop"]
    ours = meta_loops_frame(fewer.store, fewer.study).drop(columns="seconds").set_index(keys)
    all_ = meta_loops_frame(whole.store, whole.study).drop(columns="seconds").set_index(keys)
    assert ours.equals(all_.loc[ours.index])


@pytest.mark.parametrize("engine", ["fleet", "plain"])
def test_robustness_is_measured_where_a_study_asks(
    engine: str, study_spec: StudySpec, tmp_path: Path
) -> None:
    spec = replace(study_spec, evaluate=EvaluateOptions(robustness=True), trials=1)
    outcome = run(spec, tmp_path, engine=engine)
    frame = robustness_frame(outcome.store, outcome.study)
    assert len(frame) == 12 * 13 * 5
    grown = extend_study(None, store=outcome.store, meta_loops=6, engine=engine)
    assert len(robustness_frame(grown.store, grown.study)) == len(frame)


@pytest.mark.parametrize("engine", ["fleet", "plain"])
def test_harm_is_measured_where_a_study_asks(
    engine: str, study_spec: StudySpec, tmp_path: Path
) -> None:
    asked = replace(study_spec, evaluate=EvaluateOptions(harm=True))
    outcome = run(asked, tmp_path / "asked", engine=engine)
    frame = meta_loops_frame(outcome.store, outcome.study)
    is_ablated = frame.ablated_layer.notna()
    assert is_ablated.sum() == 2 * 3 * 2 * 3  # meta-loops 2 to 4 of three modes
    assert (frame.ablated_correct.notna() == is_ablated).all()
    assert ((frame.ablated_accuracy == frame.ablated_correct * 100 / 16) | ~is_ablated).all()
    plain = run(study_spec, tmp_path / "plain", engine=engine)
    left = ["seconds", "ablated_correct", "ablated_accuracy"]
    ours, theirs = frame.drop(columns=left), meta_loops_frame(plain.store, plain.study)
    assert theirs.ablated_correct.isna().all()
    pd.testing.assert_frame_equal(ours, theirs.drop(columns=left))


def test_a_finished_study_runs_nothing_again(study_spec: StudySpec, tmp_path: Path) -> None:
    run(study_spec, tmp_path)
    assert run(study_spec, tmp_path).n_run == 0


def test_two_workers_give_the_same_bits_as_one(study_spec: StudySpec, tmp_path: Path) -> None:
    one = run(study_spec, tmp_path / "one")
    two = run(study_spec, tmp_path / "two", workers=2)
    assert content(one.store) == content(two.store)
    assert weights(one) == weights(two)


def test_an_in_memory_store_serves_one_process(study_spec: StudySpec, tmp_path: Path) -> None:
    files = run(study_spec, tmp_path)
    memory = run_study(study_spec, store="sqlite://", files=tmp_path / "files")
    assert content(memory.store) == content(files.store)
    with pytest.raises(UsageError, match="in-memory store serves one process"):
        run_study(study_spec, store="sqlite://", files=tmp_path / "files", workers=2)


def test_extension_equals_the_larger_study_and_reruns_nothing(
    study_spec: StudySpec, tmp_path: Path
) -> None:
    larger = run(study_spec.extended(trials=3, meta_loops=7), tmp_path / "larger")
    run(study_spec, tmp_path / "grown")
    store = Store(str(tmp_path / "grown" / "s.db"))
    before = meta_loops_frame(store, store.study()).set_index(
        ["architecture", "mode", "trial", "meta_loop"]
    )
    grown = extend_study(None, store=store, trials=3, meta_loops=7)
    after = meta_loops_frame(store, grown.study).set_index(
        ["architecture", "mode", "trial", "meta_loop"]
    )
    keys = ["architecture", "mode", "trial", "meta_loop"]
    same = meta_loops_frame(larger.store, larger.study).drop(columns="seconds")
    ours = after.reset_index()[same.columns]
    assert ours.sort_values(keys).to_csv(index=False) == same.sort_values(keys).to_csv(index=False)
    assert weights(grown) == weights(larger)
    # Not computed again: the old records still carry the old times.
    assert (after.loc[before.index].seconds == before.seconds).all()
    # The old spec still names the same study.
    assert run_study(study_spec, store=store).n_run == 0


def test_the_torch_kernel_serves_where_the_compiled_one_cannot(
    study_spec: StudySpec, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for place in (
        "antifragile.fleet.planning.plan.load_native",
        "antifragile.study.trainers.load_native",
    ):
        monkeypatch.setattr(place, lambda *_, **__: None)
    spec = replace(study_spec, modes=("none", "dropout", "output"))
    whole = run(spec.extended(trials=3), tmp_path / "whole")
    part = run(spec, tmp_path / "part")
    grown = extend_study(None, store=part.store, trials=3)
    keys = ["architecture", "mode", "trial", "meta_loop"]
    frames = [meta_loops_frame(o.store, o.study).drop(columns="seconds") for o in (whole, grown)]
    ours, theirs = (frame.sort_values(keys).to_csv(index=False) for frame in frames)
    assert ours == theirs
    assert set(frames[0].kernel) == {"fleet torch"}


def test_extension_needs_kept_states_for_more_meta_loops(
    study_spec: StudySpec, tmp_path: Path
) -> None:
    outcome = run(replace(study_spec, keep="none"), tmp_path)
    assert weights(outcome) == {}
    with pytest.raises(UsageError, match="kept no states"):
        extend_study(None, store=outcome.store, meta_loops=9)
    assert outcome.store.study().spec.meta_loops == 4
    assert extend_study(None, store=outcome.store, trials=3).n_run == 12


def test_a_different_study_of_the_same_name_is_refused(
    study_spec: StudySpec, tmp_path: Path
) -> None:
    run(study_spec, tmp_path)
    with pytest.raises(StoreError, match=r"differs from this spec .*seed: 7 against 1337"):
        run(replace(study_spec, seed=7), tmp_path)


def test_another_kind_of_machine_is_refused_unless_mixed(
    study_spec: StudySpec, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run(study_spec, tmp_path)
    store = Store(str(tmp_path / "s.db"))
    with store.owned(OwnedKind.STUDY, "small") as owner:
        store.extend_study(study_spec.extended(trials=3), owner=owner)
    monkeypatch.setattr("antifragile.study.machine._cpu_vendor", lambda: "Another")
    with pytest.raises(StoreError, match=r"begun under other conditions .*--mix-machines"):
        run(study_spec, tmp_path)
    assert run(study_spec, tmp_path, mix_machines=True).n_run == 12
    assert len(store.environments("small")) == 2


def test_only_one_driver_at_a_time(study_spec: StudySpec, tmp_path: Path) -> None:
    def second(_: StudyProgress) -> None:
        if not seen:  # the last time all is finished, and nothing is left to refuse
            with pytest.raises(StoreError, match="is being run by process"):
                run(study_spec, tmp_path)
        seen.append(1)

    seen: list[int] = []
    run(study_spec, tmp_path, listener=second)
    assert seen


def test_a_lost_checkpoint_only_costs_time(study_spec: StudySpec, tmp_path: Path) -> None:
    whole = run(study_spec.extended(meta_loops=6), tmp_path / "whole")
    part = run(study_spec, tmp_path / "part")
    for path in part.files.glob("*.safetensors"):
        path.write_bytes(b"damaged")
    grown = extend_study(None, store=part.store, meta_loops=6)
    assert content(whole.store) == content(grown.store)
    assert weights(whole) == weights(grown)


def test_a_checkpoint_ahead_of_the_store_is_not_believed(
    study_spec: StudySpec, tmp_path: Path
) -> None:
    first = run(study_spec, tmp_path)
    expected = content(first.store)
    first.store.close()
    for path in tmp_path.glob("s.db*"):
        if path.is_file():
            path.unlink()
    assert content(run(study_spec, tmp_path).store) == expected
