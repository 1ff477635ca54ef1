"""Every registered executor runs every task once and leaves the same store."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import pytest

from antifragile.analysis.frames import meta_loops_frame
from antifragile.config.specs.study import StudySpec
from antifragile.data.datasets import load_dataset
from antifragile.errors import UsageError
from antifragile.store.owner import OwnedKind, Ownership
from antifragile.store.store import Store
from antifragile.study.agreement import put_study
from antifragile.study.equations import plan_trainings
from antifragile.study.executors.base import Executor, ExecutorKind, Resources
from antifragile.study.executors.registry import EXECUTORS, find_executor
from antifragile.study.executors.serial import SerialExecutor
from antifragile.study.options import RunOptions
from antifragile.study.plan import missing_trials, plan_study
from antifragile.study.runner import run_study
from antifragile.study.tasks import Task, make_tasks


@pytest.fixture
def spec(study_spec: StudySpec) -> StudySpec:
    return replace(study_spec, modes=("none", "output"), meta_loops=2)


@pytest.fixture
def store(spec: StudySpec, tmp_path: Path) -> Iterator[Store]:
    with Store(str(tmp_path / "s.db")) as opened:
        yield opened


@pytest.fixture
def owner(spec: StudySpec, store: Store) -> Iterator[Ownership]:
    with store.owned(OwnedKind.STUDY, spec.name) as owner:
        put_study(store, spec, load_dataset("tiny"), owner)
        yield owner


def tasks_of(spec: StudySpec, store: Store, owner: Ownership, files: Path) -> list[Task]:
    data, options = load_dataset("tiny"), RunOptions(engine="plain")
    trainings = plan_trainings(spec, data, options)
    plan = plan_study(spec, data, options, trainings, missing_trials(store, spec))
    return make_tasks(plan, store_url=store.worker_url, files=files, owner=owner)


def make(name: str, store: Store, workers: int = 2) -> Executor:
    data = load_dataset("tiny")
    return find_executor(name).make(
        Resources(workers=workers, store=store, data=data, device="cpu")
    )


@pytest.mark.parametrize("name", EXECUTORS)
def test_every_task_is_run_and_yielded_once(
    name: str, spec: StudySpec, store: Store, owner: Ownership, tmp_path: Path
) -> None:
    tasks, executor = tasks_of(spec, store, owner, tmp_path), make(name, store)
    assert executor.running() == []
    done = list(executor.run(tasks))
    assert executor.running() == []
    ids = [trial.trial_id for task in done for trial in task.trials]
    assert sorted(ids) == [trial.trial_id for trial in store.trials(spec.name)]
    assert missing_trials(store, spec) == []


@pytest.mark.parametrize("name", EXECUTORS)
def test_a_yielded_task_is_in_the_store(
    name: str, spec: StudySpec, store: Store, owner: Ownership, tmp_path: Path
) -> None:
    running = make(name, store).run(tasks_of(spec, store, owner, tmp_path))
    (first,) = next(running).trials
    assert first.trial_id not in {trial.trial_id for trial in missing_trials(store, spec)}
    running.close()  # type: ignore[attr-defined]  # executors are generators


@pytest.mark.parametrize("name", EXECUTORS)
def test_no_tasks_are_no_work(name: str, store: Store) -> None:
    assert list(make(name, store).run([])) == []


@pytest.mark.parametrize("name", EXECUTORS)
def test_a_failure_in_a_task_reaches_the_caller(
    name: str, spec: StudySpec, store: Store, owner: Ownership, tmp_path: Path
) -> None:
    (tmp_path / "file").write_text("")
    tasks = tasks_of(spec, store, owner, tmp_path / "file" / "below")
    with pytest.raises(UsageError, match="file"):
        list(make(name, store).run(tasks))


@pytest.mark.parametrize("name", EXECUTORS)
def test_a_study_has_the_same_records_by_every_executor(
    name: str, spec: StudySpec, tmp_path: Path
) -> None:
    def records(store: str, **options: object) -> str:
        outcome = run_study(spec, store=str(tmp_path / store), **options)  # type: ignore[arg-type]
        with outcome.store:
            frame = meta_loops_frame(outcome.store, outcome.study)
        return frame.drop(columns="seconds").to_csv(index=False)

    assert records("own.db", executor=name) == records("reference.db")


def test_an_executor_is_added_by_one_entry(
    spec: StudySpec, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Counting(SerialExecutor):
        def run(self, tasks: Sequence[Task]) -> Iterator[Task]:
            counted.append(len(tasks))
            return super().run(tasks)

    counted: list[int] = []
    monkeypatch.setitem(EXECUTORS, "counting", ExecutorKind(make=Counting, in_process=True))
    assert (
        run_study(spec, store="sqlite://", executor="counting", files=tmp_path).n_run
        == spec.n_trials
    )
    assert counted == [2]


def test_an_unknown_executor_is_refused_before_anything_is_written(
    spec: StudySpec, tmp_path: Path
) -> None:
    with pytest.raises(UsageError, match=r"executor 'locale' is unknown; did you mean 'local'\?"):
        run_study(spec, store="sqlite://", files=tmp_path / "files", executor="locale")
    assert list(tmp_path.iterdir()) == []


def test_a_store_in_memory_serves_no_other_process(spec: StudySpec, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="in-memory store serves one process"):
        run_study(spec, store="sqlite://", files=tmp_path / "files", executor="local")
