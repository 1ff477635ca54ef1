"""Running a study: plan what is missing, run it, be stopped and started at will.

The store is asked what is finished, never the folder. All that must hold for the bits to be
the same again - threads, kernel, precision, kind of machine - is fixed here, before the first
task runs, and compared with what the study's records say.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

from antifragile.config.evaluate import Keep
from antifragile.config.study import StudySpec
from antifragile.data.splits import Dataset
from antifragile.errors import UsageError, nearest
from antifragile.store.records import StoredStudy
from antifragile.store.store import DEFAULT_STORE, Store
from antifragile.study.agreement import agreed_spec, check_same_machine, load_study_data, put_study
from antifragile.study.executors.local import Executor, ProcessExecutor, SerialExecutor
from antifragile.study.folder import default_files, only_driver
from antifragile.study.options import RunOptions
from antifragile.study.parts import study_parts
from antifragile.study.planning import fleet_plan, missing_trials, plan_tasks
from antifragile.study.prediction import StudyPlan, plan_study
from antifragile.study.reporting import reporting
from antifragile.study.task import PlannedTrial
from antifragile.study.trainers import EngineName


@dataclass(frozen=True, kw_only=True)
class StudyOutcome:
    """What a call of `run_study` did.

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
    spec: StudySpec | Path | str, *, store: Store | str = DEFAULT_STORE, **options: Any
) -> StudyOutcome:
    """Run every trial of a study that its store does not have yet.

    Args:
        spec: The study, or the path of its TOML file.
        store: An open store, its URL, or the path of an SQLite file.
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
    spec = spec if isinstance(spec, StudySpec) else StudySpec.from_toml(Path(spec))
    chosen = _read_options(options)
    data = load_study_data(spec, chosen.data_dir)
    with _opened(store, create=True) as opened:
        return _run_missing(agreed_spec(opened, spec, data), opened, data, chosen)


def extend_study(
    name: str | None,
    *,
    store: Store | str = DEFAULT_STORE,
    trials: int | None = None,
    meta_loops: int | None = None,
    **options: Any,
) -> StudyOutcome:
    """Give a stored study more trials or meta-loops and run what is then missing.

    Finished meta-loops are not run again: trials go on from the state that ``keep = "lkg"``
    kept.

    Args:
        name: The study; None for the only one in the store.
        store: As in `run_study`.
        trials: New total of trials per cell.
        meta_loops: New total of meta-loops per trial.
        **options: Fields of `RunOptions`.

    Raises:
        UsageError: A total below the present one, or more meta-loops for a study that kept
            no states.
    """
    chosen = _read_options(options)
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
        return _run_missing(spec, opened, data, chosen)


def preview_study(
    spec: StudySpec | Path | str, *, store: Store | str | None = None, **options: Any
) -> StudyPlan:
    """Say how a study would run, without running or writing anything.

    Args:
        spec: The study, or the path of its TOML file.
        store: What it has finished counts as done; None, or an absent file, for none.
        **options: Fields of `RunOptions`.

    Raises:
        UsageError: As `run_study`.
    """
    spec = spec if isinstance(spec, StudySpec) else StudySpec.from_toml(Path(spec))
    chosen = _read_options(options)
    data = load_study_data(spec, chosen.data_dir)
    if store is None:
        with Store("sqlite://") as empty:
            put_study(empty, spec, data)
            return plan_study(spec, data, chosen, missing_trials(empty, spec))
    with _opened(store, create=False) as opened:
        if opened.find_study(spec.name) is None:
            return preview_study(spec, **options)
        spec = agreed_spec(opened, spec, data)
        return plan_study(spec, data, chosen, missing_trials(opened, spec))


def _read_options(options: dict[str, Any]) -> RunOptions:
    known = [item.name for item in fields(RunOptions)]
    for name in options:
        if name not in known:
            raise UsageError(f"unknown option {name!r}; {nearest(name, known)}")
    return RunOptions(**options)


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


def _run_missing(spec: StudySpec, store: Store, data: Dataset, options: RunOptions) -> StudyOutcome:
    """Check all that is left to check, then write: first the study, then its results."""
    started = time.monotonic()
    folder = default_files(store, spec.name) if options.files is None else options.files
    if (options.workers or 1) > 1 and store.is_memory:
        raise UsageError("an in-memory store serves one process; use --workers 1, or a file.")
    for part in study_parts(spec, options):
        check_same_machine(store, spec.name, part, options)
        for architecture in spec.architectures:
            if part.engine is EngineName.FLEET:  # refuses a budget that is too small
                fleet_plan(spec, architecture, data, options, part)
    with only_driver(folder, spec.name):
        study = put_study(store, spec, data)
        missing = missing_trials(store, spec)
        tasks = plan_tasks(spec, missing, store.worker_url, data, options, folder)
        workers = min(_workers(spec, missing, store, data, options), len(tasks))
        executor: Executor = (
            ProcessExecutor(workers)
            if workers > 1
            else SerialExecutor(store, data.to(options.device))
        )
        with reporting(options.listener, store, study, executor, started):
            n_run = sum(len(task.trials) for task in executor.run(tasks))
    return StudyOutcome(
        study=study, store=store, n_run=n_run, seconds=time.monotonic() - started, files=folder
    )


def _workers(
    spec: StudySpec,
    missing: Sequence[PlannedTrial],
    store: Store,
    data: Dataset,
    options: RunOptions,
) -> int:
    if store.is_memory:
        return 1
    return options.workers or plan_study(spec, data, options, missing).workers
