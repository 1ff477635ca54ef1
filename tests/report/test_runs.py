"""Exported runs, read back by TensorBoard and MLflow themselves."""

from __future__ import annotations

import math
import os
import warnings
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from antifragile.analysis.source import Source, open_source
from antifragile.config.specs.evaluate import EvaluateOptions
from antifragile.config.specs.study import StudySpec
from antifragile.errors import MissingExtraError, UsageError, WorldError
from antifragile.report.trackers.mlflow import export_mlflow
from antifragile.report.trackers.runs import TrackedRun, new_folder, tracked_runs
from antifragile.report.trackers.tensorboard import export_tensorboard
from antifragile.store.store import Store
from antifragile.study.runner import run_study
from tests.report.stored_studies import empty_source

SPEC = StudySpec.from_mapping(
    {
        "name": "<b>runs & more</b>",
        "dataset": "tiny",
        "architectures": ["1*4", "[2*3, 1*2]"],
        "modes": ["none", "hidden"],
        "trials": 2,
        "meta_loops": 3,
        "training": {"learning_rate": 0.01, "batch_size": 8},
    }
)


@pytest.fixture(scope="module")
def path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A store with a finished study, and one whose last trials have only a record each."""
    path = tmp_path_factory.mktemp("runs") / "runs.db"
    run_study(replace(SPEC, evaluate=EvaluateOptions(harm=True)), store=str(path)).store.close()
    return path


@pytest.fixture(scope="module")
def source(path: Path) -> Source:
    return open_source(str(path))


@pytest.fixture(scope="module")
def runs(source: Source) -> list[TrackedRun]:
    return list(tracked_runs(source))


def test_every_trial_is_a_run_with_what_it_was_run_with(runs: list[TrackedRun]) -> None:
    assert [(run.architecture, run.mode, run.trial) for run in runs] == [
        (trial.architecture.name, trial.mode, trial.trial) for trial in SPEC.trial_specs()
    ]
    run = runs[3]
    assert run.name == "[2*3, 1*2] hidden, trial 1"
    assert str(run.folder) == "2x3-1x2/hidden/trial-001"
    assert run.parameters["study"] == SPEC.name
    assert run.parameters["learning_rate"] == 0.01
    assert (run.parameters["architecture"], run.parameters["mode"]) == ("[2*3, 1*2]", "hidden")
    assert len({run.folder for run in runs}) == 8


def test_curves_are_the_records(runs: list[TrackedRun], path: Path) -> None:
    with Store(str(path), create=False) as store:
        rows = store.record_columns(SPEC.name)
    correct = [100 * count / 16 for count in rows["validation_correct"]]
    assert [v for run in runs for v in run.curves["validation_accuracy"]] == correct
    assert [v for run in runs for v in run.curves["promoted"]] == [*map(float, rows["promoted"])]
    assert "ablated_accuracy" not in runs[0].curves
    assert math.isnan(runs[1].curves["ablated_accuracy"][0])
    assert not math.isnan(runs[1].curves["ablated_accuracy"][1])
    assert all((run.times[1:] >= run.times[:-1]).all() for run in runs)


def test_results_are_those_of_finished_trials(runs: list[TrackedRun], source: Source) -> None:
    assert [run.results["test_accuracy"] for run in runs] == [*source.trials["test_accuracy"]]
    unfinished = replace(source, trials=source.trials.iloc[:1])
    assert [bool(run.results) for run in tracked_runs(unfinished)] == [True] + 7 * [False]


def test_a_study_without_records_has_no_runs(tmp_path: Path) -> None:
    assert list(tracked_runs(empty_source())) == []


def test_tensorboard_reads_what_was_written(
    source: Source, runs: list[TrackedRun], tmp_path: Path
) -> None:
    pytest.importorskip("tensorboard", reason="the extra 'tensorboard' is not installed")
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    assert export_tensorboard(source, tmp_path / "tb") == 8
    for run in runs:
        events = EventAccumulator(str(tmp_path / "tb" / run.folder))
        events.Reload()
        for name, values in run.curves.items():
            found = events.Scalars(name)
            known = [(i, v) for i, v in zip(run.meta_loops, values, strict=True) if v == v]
            assert [event.step for event in found] == [step for step, _ in known]
            assert [event.value for event in found] == pytest.approx([v for _, v in known])
        (peak,) = events.Scalars("result/peak_validation_accuracy")
        assert peak.value == pytest.approx(run.results["peak_validation_accuracy"])
        assert peak.wall_time == pytest.approx(run.times[-1])
    assert [p.name for p in tmp_path.iterdir()] == ["tb"]


def test_tensorboard_knows_the_parameters(
    source: Source, runs: list[TrackedRun], tmp_path: Path
) -> None:
    pytest.importorskip("tensorboard", reason="the extra 'tensorboard' is not installed")
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
    from tensorboard.plugins.hparams.plugin_data_pb2 import HParamsPluginData

    export_tensorboard(source, tmp_path / "tb")
    events = EventAccumulator(str(tmp_path / "tb" / runs[1].folder))
    events.Reload()
    content = events.PluginTagToContent("hparams")["_hparams_/session_start_info"]
    start = HParamsPluginData.FromString(content).session_start_info.hparams
    assert start["architecture"].string_value == "1*4"
    assert start["mode"].string_value == "hidden"
    assert start["learning_rate"].number_value == 0.01
    assert set(start) == set(runs[1].parameters)


@pytest.fixture
def client(source: Source, tmp_path: Path) -> Iterator[Any]:
    """MLflow's own client on an export, and nothing else left behind."""
    pytest.importorskip("mlflow", reason="the extra 'mlflow' is not installed")
    pytest.importorskip("alembic", reason="the extra 'mlflow' is not installed")
    assert export_mlflow(source, tmp_path / "ml") == 8
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # MLflow's own
        from mlflow import MlflowClient

        yield MlflowClient(tracking_uri=f"sqlite:///{tmp_path / 'ml' / 'mlflow.db'}")


def test_mlflow_reads_what_was_written(
    client: Any, runs: list[TrackedRun], tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    experiment = client.get_experiment_by_name(SPEC.name)
    assert experiment.artifact_location == (tmp_path / "ml" / "artifacts").as_uri()
    stored = {run.info.run_name: run for run in client.search_runs([experiment.experiment_id])}
    assert set(stored) == {run.name for run in runs}
    for run in runs:
        found = stored[run.name]
        assert found.info.status == "FINISHED"
        assert found.data.params == {name: str(value) for name, value in run.parameters.items()}
        assert found.data.metrics["test_accuracy"] == run.results["test_accuracy"]
        for name, values in run.curves.items():
            history = sorted(
                client.get_metric_history(found.info.run_id, name), key=lambda metric: metric.step
            )
            known = [(i, v) for i, v in zip(run.meta_loops, values, strict=True) if v == v]
            assert [(metric.step, metric.value) for metric in history] == known
    assert [p.name for p in tmp_path.iterdir()] == ["ml"]
    assert "telemetry" not in capfd.readouterr().err.lower()


def test_mlflow_is_asked_to_send_nothing_and_the_environment_is_left_alone(
    source: Source, tmp_path: Path
) -> None:
    pytest.importorskip("mlflow", reason="the extra 'mlflow' is not installed")
    before = dict(os.environ)
    export_mlflow(source, tmp_path / "ml")
    assert dict(os.environ) == before


@pytest.mark.parametrize(
    ("export", "module", "extra"),
    [(export_tensorboard, "tensorboard", "tensorboard"), (export_mlflow, "alembic", "mlflow")],
)
def test_without_the_package_one_sentence_says_what_to_install(
    export: Any,
    module: str,
    extra: str,
    source: Source,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setitem(__import__("sys").modules, module, None)
    with pytest.raises(MissingExtraError, match=rf"pip install 'antifragile\[{extra}\]'"):
        export(source, tmp_path / "out")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("export", [export_tensorboard, export_mlflow])
def test_a_folder_that_holds_something_is_left_alone(
    export: Any, source: Source, tmp_path: Path
) -> None:
    pytest.importorskip(export.__name__.removeprefix("export_"), reason="the extra is missing")
    (tmp_path / "mine").write_text("mine")
    with pytest.raises(UsageError, match="already holds something; give a new folder"):
        export(source, tmp_path)
    assert [p.name for p in tmp_path.iterdir()] == ["mine"]


def test_a_folder_appears_whole_or_not_at_all(tmp_path: Path) -> None:
    def fill(stop: BaseException) -> None:
        with new_folder(tmp_path / "new") as temporary:
            (temporary / "half").touch()
            raise stop

    with pytest.raises(KeyboardInterrupt):
        fill(KeyboardInterrupt())
    with pytest.raises(WorldError, match=r"cannot write .*new: No space left"):
        fill(OSError(28, "No space left on device"))
    assert list(tmp_path.iterdir()) == []
    (tmp_path / "new").mkdir()
    with new_folder(tmp_path / "new") as temporary:
        (temporary / "all").touch()
    assert [p.name for p in (tmp_path / "new").iterdir()] == ["all"]
