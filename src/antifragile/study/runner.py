"""Running a study: plan the missing trials and run them; it may be stopped at any moment.

The store says what is finished, never the folder. All that must hold for the bits to be
the same again - threads, kernel, precision, kind of machine - is fixed here, before the first
task runs, and compared with what the study's records say.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Unpack

from antifragile.config.specs.evaluate import Keep
from antifragile.config.specs.study import StudySpec
from antifragile.data.splits import Dataset
from antifragile.errors import UsageError
from antifragile.store.owner import OwnedKind
from antifragile.store.records import StoredStudy
from antifragile.store.store import DEFAULT_STORE, Store
from antifragile.study.agreement import agreed_spec, check_same_machine, load_study_data, put_study
from antifragile.study.equations import plan_trainings
from antifragile.study.executors.base import Executor, Resources
from antifragile.study.executors.registry import find_executor
from antifragile.study.folder import default_files, only_writer
from antifragile.study.options import RunKeywords, RunOptions
from antifragile.study.plan import StudyPlan, missing_trials, plan_study
from antifragile.study.progress import ProgressListener, reporting
from antifragile.study.tasks import make_tasks


@dataclass(frozen=True, kw_only=True)
class StudyOutcome:
    """The result of a call of `run_study`.

    Args:
        study: The study as stored.
        store: The open store with its records.
        n_run: Trials that this call finished.
        seconds: Wall time.
        files: Folder of the kept weights.
    """

    study: StoredStudy
    store: Store
    n_run: int
    seconds: float
    files: Path


def run_study(
    spec: StudySpec | Path | str,
    *,
    store: Store | str = DEFAULT_STORE,
    listener: ProgressListener | None = None,
    **options: Unpack[RunKeywords],
) -> StudyOutcome:
    """Run every trial of a study that its store does not have yet.

    Args:
        spec: The study, or the path of its TOML file.
        store: An open store, its URL, or the path of an SQLite file.
        listener: Called about twice a second with the progress.
        **options: Fields of `RunOptions`: workers, engine, device, ...

    Raises:
        UsageError: Something in the request is wrong; nothing was run.
        WorldError: The disk, the database or a worker failed; what was stored stays.

    Example:
        >>> from antifragile import StudySpec, run_study
        >>> spec = StudySpec.from_mapping({"name": "try", "dataset": "tiny", "trials": 1,
        ...     "meta_loops": 2, "architectures": ["1*4"], "modes": ["none", "output"]})
        >>> run_study(spec, store="sqlite://").n_run
        2
    """
    spec = _read_spec(spec)
    chosen = RunOptions.read(options)
    data = load_study_data(spec, chosen.data_dir)
    with _opened(store, create=True) as opened:
        return _run_missing(agreed_spec(opened, spec, data), opened, data, chosen, listener)


def extend_study(
    name: str | None,
    *,
    store: Store | str = DEFAULT_STORE,
    trials: int | None = None,
    meta_loops: int | None = None,
    listener: ProgressListener | None = None,
    **options: Unpack[RunKeywords],
) -> StudyOutcome:
    """Give a stored study more trials or meta-loops and run what is then missing.

    Finished meta-loops are not run again: trials go on from the state that ``keep = "lkg"``
    kept.

    Args:
        name: The study; None for the only one in the store.
        store: As in `run_study`.
        trials: New total of trials per cell.
        meta_loops: New total of meta-loops per trial.
        listener: As in `run_study`.
        **options: Fields of `RunOptions`.

    Raises:
        UsageError: A total below the present one, or more meta-loops for a study that kept
            no states.
    """
    chosen = RunOptions.read(options)
    with _opened(store, create=False) as opened:
        before = opened.study(name).spec
        if trials is None and meta_loops is None:
            raise UsageError("nothing to extend; give a new total with --trials or --meta-loops.")
        spec = before.extended(trials=trials, meta_loops=meta_loops)
        if spec.meta_loops > before.meta_loops and before.keep is Keep.NONE:
            raise UsageError(
                f"study {before.name!r} kept no states (keep = 'none'), so its trials cannot go on "
                "beyond their last meta-loop; extend it by --trials, or run it anew with "
                "keep = 'lkg'."
            )
        data = load_study_data(spec, chosen.data_dir)
        opened.upgrade()
        agreed_spec(opened, before, data)
        return _run_missing(spec, opened, data, chosen, listener)


def preview_study(
    spec: StudySpec | Path | str,
    *,
    store: Store | str | None = None,
    **options: Unpack[RunKeywords],
) -> StudyPlan:
    """Say how a study would run, without running or writing anything.

    Args:
        spec: The study, or the path of its TOML file.
        store: Trials that this store has finished count as done.
        **options: Fields of `RunOptions`.

    Raises:
        UsageError: As `run_study`.
    """
    spec = _read_spec(spec)
    chosen = RunOptions.read(options)
    data = load_study_data(spec, chosen.data_dir)
    missing = missing_trials(None, spec)
    if store is not None:
        with _opened(store, create=False) as opened:
            if opened.find_study(spec.name) is not None:
                spec = agreed_spec(opened, spec, data)
                missing = missing_trials(opened, spec)
            if opened is not store:
                opened.close()
    return plan_study(spec, data, chosen, plan_trainings(spec, data, chosen), missing)


def _read_spec(spec: StudySpec | Path | str) -> StudySpec:
    return spec if isinstance(spec, StudySpec) else StudySpec.from_toml(Path(spec))


@contextmanager
def _opened(store: Store | str, *, create: bool) -> Iterator[Store]:
    """The store, closed again only when something went wrong; the outcome refers to it."""
    opened = store if isinstance(store, Store) else Store(store, create=create)
    try:
        yield opened
    except BaseException:
        if opened is not store:
            opened.close()
        raise


def _run_missing(
    spec: StudySpec,
    store: Store,
    data: Dataset,
    options: RunOptions,
    listener: ProgressListener | None,
) -> StudyOutcome:
    """Check all that is left to check, then write: first the study, then its results."""
    started = time.monotonic()
    folder = default_files(store, spec.name) if options.files is None else options.files
    _check_executor(store, options)
    trainings = plan_trainings(spec, data, options)
    mixes, kind = options.mix_machines, OwnedKind.STUDY
    if (finished := _finished(store, spec)) is not None:
        seconds = time.monotonic() - started
        return StudyOutcome(study=finished, store=store, n_run=0, seconds=seconds, files=folder)
    with store.owned(kind, spec.name, may_mix=mixes) as owner, only_writer(folder):
        check_same_machine(store, spec.name, trainings, mix_machines=mixes)
        study = put_study(store, spec, data, owner)
        plan = plan_study(spec, data, options, trainings, missing_trials(store, spec))
        tasks = make_tasks(plan, store_url=store.worker_url, files=folder, owner=owner)
        executor = _make_executor(plan, store, data, len(tasks))
        with reporting(listener, plan, store, study, executor):
            n_run = sum(len(task.trials) for task in executor.run(tasks))
    return StudyOutcome(
        study=study, store=store, n_run=n_run, seconds=time.monotonic() - started, files=folder
    )


def _finished(store: Store, spec: StudySpec) -> StoredStudy | None:
    """The study as stored, if nothing of it is left to run or to write."""
    stored = store.find_study(spec.name)
    is_finished = stored and stored.spec == spec and not missing_trials(store, spec)
    return stored if is_finished else None


def _check_executor(store: Store, options: RunOptions) -> None:
    if options.executor is None:
        in_process = options.workers in (1, None)
    else:
        in_process = find_executor(options.executor).in_process
    if store.is_memory and not in_process:
        raise UsageError("an in-memory store serves one process; use --workers 1, or a file.")


def _make_executor(plan: StudyPlan, store: Store, data: Dataset, n_tasks: int) -> Executor:
    """The executor asked for, or the one that the number of workers calls for."""
    workers = 1 if store.is_memory else min(plan.workers, n_tasks)
    name = plan.options.executor or ("local" if workers > 1 else "serial")
    return find_executor(name).make(
        Resources(workers=max(1, workers), store=store, data=data, device=plan.options.device)
    )
