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
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import platformdirs
from filelock import FileLock, Timeout

from antifragile.config import Keep, StudySpec
from antifragile.data import Dataset, load_dataset
from antifragile.errors import StoreError, UsageError, WorldError
from antifragile.store import (
    DEFAULT_STORE,
    DataFacts,
    Environment,
    Store,
    StoredProgress,
    StoredStudy,
)
from antifragile.study.executor import Executor, ProcessExecutor, SerialExecutor
from antifragile.study.machine import check_device, current_environment
from antifragile.study.task import PlannedTrial, Task

CHECKPOINT_EVERY_S = 5.0
_POLL_S = 0.5


@dataclass(frozen=True, kw_only=True)
class Progress:
    """What a display needs to know while a study runs."""

    spec: StudySpec
    data: DataFacts
    stored: StoredProgress
    running: list[str]
    seconds: float


Listener = Callable[[Progress], None]


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
    spec: StudySpec | Path | str,
    *,
    store: Store | str = DEFAULT_STORE,
    workers: int = 1,
    device: str = "cpu",
    data_dir: Path | None = None,
    files: Path | None = None,
    mix_machines: bool = False,
    checkpoint_every_s: float = CHECKPOINT_EVERY_S,
    listener: Listener | None = None,
) -> StudyOutcome:
    """Run every trial of a study that its store does not have yet.

    Args:
        spec: The study, or the path of its TOML file.
        store: An open store, its URL, or the path of an SQLite file.
        workers: Worker processes; 1 runs in this process. The results do not depend on it.
        device: ``cpu``, ``cuda`` or ``mps``.
        data_dir: Where to look for data files first.
        files: Folder for checkpoints and kept weights; beside an SQLite store by default.
        mix_machines: Go on with a study that another kind of machine began.
        checkpoint_every_s: Least time between two checkpoints of one trial.
        listener: Called about twice a second with the progress.

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
    check_device(device)
    data = load_study_data(spec, data_dir)
    store = store if isinstance(store, Store) else Store(store)
    study = _open_study(store, spec, data)
    return _run_missing(
        study,
        store,
        data.to(device),
        workers=workers,
        environment=current_environment(device=device),
        data_dir=data_dir,
        files=files,
        mix_machines=mix_machines,
        checkpoint_every_s=checkpoint_every_s,
        listener=listener,
    )


def extend_study(
    name: str | None,
    *,
    store: Store | str = DEFAULT_STORE,
    trials: int | None = None,
    meta_loops: int | None = None,
    **options: object,
) -> StudyOutcome:
    """Give a stored study more trials or meta-loops and run what is then missing.

    Finished meta-loops are not run again: trials go on from the state that ``keep = "lkg"``
    kept.

    Args:
        name: The study; None for the only one in the store.
        store: As in `run_study`.
        trials: New total of trials per cell.
        meta_loops: New total of meta-loops per trial.
        **options: Of `run_study`.

    Raises:
        UsageError: A total below the present one, or more meta-loops for a study that kept
            no states.
    """
    store = store if isinstance(store, Store) else Store(store, create=False)
    before = store.study(name).spec
    if trials is None and meta_loops is None:
        raise UsageError("nothing to extend; give a new total with --trials or --meta-loops.")
    spec = before.extended(trials=trials, meta_loops=meta_loops)
    if spec.meta_loops > before.meta_loops and before.keep is Keep.NONE:
        raise UsageError(
            f"study {before.name!r} kept no states (keep = 'none'), so its trials cannot go on "
            "beyond their last meta-loop; extend it by --trials, or run it anew with keep = 'lkg'."
        )
    store.extend_study(spec)
    return run_study(spec, store=store, **options)  # type: ignore[arg-type]  # checked there


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


def _open_study(store: Store, spec: StudySpec, data: Dataset) -> StoredStudy:
    """Add the study, or check that the stored one of its name is the same.

    A stored study that was extended beyond the spec is the same study.
    """
    facts = data_facts(data)
    stored = store.find_study(spec.name)
    if stored is None:
        store.add_study(spec, facts)
        return store.study(spec.name)
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
    if stored.data.sha256 != facts.sha256:
        raise StoreError(
            f"study {spec.name!r} in store {store} was run on other data than {spec.dataset!r} "
            "holds now; bring the old data back, or give the study another name."
        )
    return stored


def _run_missing(
    study: StoredStudy,
    store: Store,
    data: Dataset,
    *,
    workers: int,
    environment: Environment,
    data_dir: Path | None,
    files: Path | None,
    mix_machines: bool,
    checkpoint_every_s: float,
    listener: Listener | None,
) -> StudyOutcome:
    spec, started = study.spec, time.monotonic()
    folder = default_files(store, spec.name) if files is None else files
    if workers < 1:
        raise UsageError(f"--workers must be at least 1; got {workers}.")
    if workers > 1 and store.is_memory:
        raise UsageError("an in-memory store serves one process; use --workers 1, or a file.")
    _check_same_machine(store, spec.name, environment, mix_machines)
    with _only_driver(folder, spec.name):
        tasks = [
            Task(
                trials=(trial,),
                store_url=store.worker_url,
                files=folder,
                data_dir=data_dir,
                data_sha256=data.sha256,
                environment=environment,
                keep=spec.keep,
                checkpoint_every_s=checkpoint_every_s,
            )
            for trial in _missing(store, spec)
        ]
        workers = min(workers, len(tasks))
        executor: Executor = (
            ProcessExecutor(workers) if workers > 1 else SerialExecutor(store, data)
        )
        with _reporting(listener, store, study, executor, started):
            n_run = sum(len(task.trials) for task in executor.run(tasks))
    return StudyOutcome(
        study=study, store=store, n_run=n_run, seconds=time.monotonic() - started, files=folder
    )


def _missing(store: Store, spec: StudySpec) -> list[PlannedTrial]:
    """The unfinished trials, in the spec's order."""
    stored = {(t.architecture, t.mode, t.trial): t for t in store.trials(spec.name)}
    planned = []
    for trial in spec.trial_specs():
        known = stored.get((trial.architecture.name, trial.mode, trial.trial))
        if known is None:
            raise StoreError(
                f"store {store} is damaged: study {spec.name!r} lacks trial {trial.trial} of "
                f"{trial.architecture} {trial.mode}."
            )
        if not known.is_finished(spec.meta_loops):
            planned.append(
                PlannedTrial(
                    trial_id=known.trial_id,
                    spec=trial,
                    recorded_meta_loops=known.recorded_meta_loops,
                )
            )
    return planned


def _check_same_machine(
    store: Store, study: str, environment: Environment, mix_machines: bool
) -> None:
    for other in store.environments(study):
        if other != environment and not mix_machines:
            raise StoreError(
                f"study {study!r} was begun under other conditions "
                f"({'; '.join(environment.differences(other))}), so its numbers would not be the "
                "same bit for bit; go on there, or accept a mixture with --mix-machines."
            )


@contextmanager
def _only_driver(folder: Path, study: str) -> Iterator[None]:
    """Hold the study's lock; the kernel gives it back when the process dies, however it dies."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
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
        yield
    finally:
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
