"""Running a study: plan what is missing, run it, be stopped and started at will.

The store is asked what is finished, never the folder. All that must hold for the bits to be
the same again - threads, kernel, precision, kind of machine - is fixed here, before the first
task runs, and compared with what the study's records say.
"""

from __future__ import annotations

import hashlib
import re
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import platformdirs
from filelock import FileLock, Timeout

from antifragile._files import make_folder, remove_temporary_files
from antifragile.config import Keep, StudySpec
from antifragile.data import Dataset, load_dataset
from antifragile.errors import StoreError, UsageError, WorldError, nearest
from antifragile.store import DEFAULT_STORE, DataFacts, Store, StoredStudy
from antifragile.study.executor import Executor, ProcessExecutor, SerialExecutor
from antifragile.study.options import Listener, Progress, RunOptions
from antifragile.study.parts import Part, study_parts
from antifragile.study.planning import (
    StudyPlan,
    environment_of,
    fleet_plan,
    missing_trials,
    plan_study,
    plan_tasks,
)
from antifragile.study.trainers import EngineName

_POLL_S = 0.5


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
        return _run_missing(_agreed(opened, spec, data), opened, data, chosen)


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
        _agreed(opened, before, data)
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
            _put_study(empty, spec, data)
            return plan_study(spec, data, chosen, missing_trials(empty, spec))
    with _opened(store, create=False) as opened:
        if opened.find_study(spec.name) is None:
            return preview_study(spec, **options)
        spec = _agreed(opened, spec, data)
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


def load_study_data(spec: StudySpec, data_dir: Path | None) -> Dataset:
    """The study's data set, after checking that every network fits in memory with it."""
    data = load_dataset(spec.dataset, data_dir=data_dir, normalization=spec.training.normalization)
    for architecture in spec.architectures:
        architecture.check_fits_in_memory(data.n_inputs, data.n_classes)
    return data


def data_facts(data: Dataset) -> DataFacts:
    """What the store notes about a data set."""
    return DataFacts(
        sha256=data.sha256,
        n_train=data.train.n_samples,
        n_validation=data.validation.n_samples,
        n_test=data.test.n_samples,
        zero_r_validation=data.validation.zero_r_correct,
        zero_r_test=data.test.zero_r_correct,
    )


def default_files(store: Store, study: str) -> Path:
    """Where checkpoints and kept weights of a study lie unless the caller says otherwise."""
    readable = re.sub(r"[^A-Za-z0-9._-]+", "-", study).strip("-.")[:60]
    folder = f"{readable or 'study'}-{hashlib.sha256(study.encode()).hexdigest()[:8]}"
    if store.url.get_backend_name() == "sqlite" and not store.is_memory:
        path = Path(str(store.url.database))
        return path.with_name(path.name + ".files") / folder
    where = hashlib.sha256(str(store).encode()).hexdigest()[:16]
    return platformdirs.user_cache_path("antifragile") / "stores" / where / folder


def _agreed(store: Store, spec: StudySpec, data: Dataset) -> StudySpec:
    """The spec, or the stored one of its name after a check that it is the same study.

    A stored study that was extended beyond the spec is the same study.
    """
    stored = store.find_study(spec.name)
    if stored is None:
        return spec
    larger = spec.extended(
        trials=max(spec.trials, stored.spec.trials),
        meta_loops=max(spec.meta_loops, stored.spec.meta_loops),
    )
    if differences := larger.differences(stored.spec):
        extend = {item.split(":")[0] for item in differences} <= {"trials", "meta_loops"}
        advice = "use 'study extend'" if extend else "give the study another name"
        raise StoreError(
            f"study {spec.name!r} in store {store} differs from this spec ({'; '.join(differences)}"
            f"); {advice}, or use another store."
        )
    if stored.data.sha256 != data.sha256:
        raise StoreError(
            f"study {spec.name!r} in store {store} was run on other data than {spec.dataset!r} "
            "holds now; bring the old data back, or give the study another name."
        )
    return stored.spec


def _put_study(store: Store, spec: StudySpec, data: Dataset) -> StoredStudy:
    """Add the study, or replace the stored one's spec when this one is larger."""
    stored = store.find_study(spec.name)
    if stored is None:
        store.add_study(spec, data_facts(data))
    elif stored.spec != spec:
        store.extend_study(spec)
    return store.study(spec.name)


def _run_missing(spec: StudySpec, store: Store, data: Dataset, options: RunOptions) -> StudyOutcome:
    """Check all that is left to check, then write: first the study, then its results."""
    started = time.monotonic()
    folder = default_files(store, spec.name) if options.files is None else options.files
    if (options.workers or 1) > 1 and store.is_memory:
        raise UsageError("an in-memory store serves one process; use --workers 1, or a file.")
    for part in study_parts(spec, options):
        _check_same_machine(store, spec.name, part, options)
        for architecture in spec.architectures:
            if part.engine is EngineName.FLEET:  # refuses a budget that is too small
                fleet_plan(spec, architecture, data, options, part)
    with _only_driver(folder, spec.name):
        study = _put_study(store, spec, data)
        tasks = plan_tasks(spec, store, data, options, folder)
        workers = _n_workers(spec, store, data, options, len(tasks))
        executor: Executor = (
            ProcessExecutor(workers)
            if workers > 1
            else SerialExecutor(store, data.to(options.device))
        )
        with _reporting(options.listener, store, study, executor, started):
            n_run = sum(len(task.trials) for task in executor.run(tasks))
    return StudyOutcome(
        study=study, store=store, n_run=n_run, seconds=time.monotonic() - started, files=folder
    )


def _n_workers(
    spec: StudySpec, store: Store, data: Dataset, options: RunOptions, n_tasks: int
) -> int:
    if store.is_memory:
        return 1
    chosen = options.workers
    if chosen is None:
        chosen = plan_study(spec, data, options, missing_trials(store, spec)).workers
    return min(chosen, n_tasks)


def _check_same_machine(store: Store, study: str, part: Part, options: RunOptions) -> None:
    environment = environment_of(options, part)
    for other in store.environments(study, modes=part.modes):
        if other != environment and not options.mix_machines:
            raise StoreError(
                f"study {study!r} was begun under other conditions "
                f"({'; '.join(environment.differences(other))}), so its numbers would not be the "
                "same bit for bit; go on there, or accept a mixture with --mix-machines."
            )


@contextmanager
def _only_driver(folder: Path, study: str) -> Iterator[None]:
    """Hold the study's lock; the kernel gives it back when the process dies, however it dies."""
    make_folder(folder)
    try:
        lock = FileLock(folder / "driver.lock")
        lock.acquire(timeout=0)
    except Timeout:
        raise StoreError(
            f"study {study!r} is being run by another process; wait for it, or stop it first."
        ) from None
    except OSError as error:
        raise WorldError(
            f"cannot write to {folder}: {error.strerror}; choose another folder with --files."
        ) from error
    try:
        remove_temporary_files(folder)
        yield
    finally:
        remove_temporary_files(folder)
        lock.release()


@contextmanager
def _reporting(
    listener: Listener | None, store: Store, study: StoredStudy, executor: Executor, started: float
) -> Iterator[None]:
    """Call the listener from a thread that asks the store, and once more at the end."""
    if listener is None:
        yield
        return

    def report() -> None:
        listener(
            Progress(
                spec=study.spec,
                data=study.data,
                stored=store.progress(study.spec.name, study.spec.meta_loops),
                running=executor.running(),
                seconds=time.monotonic() - started,
            )
        )

    stop = threading.Event()

    def poll() -> None:
        while not stop.wait(_POLL_S):
            report()

    # A memory store has one connection, which the training thread is using.
    thread = threading.Thread(target=poll, daemon=True)
    report()
    if not store.is_memory:
        thread.start()
    try:
        yield
    finally:
        stop.set()
        if thread.is_alive():
            thread.join()
    report()
