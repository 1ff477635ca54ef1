"""Progress of a running study, told to a listener by a thread that asks the store."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass

from antifragile.errors import WorldError
from antifragile.store.records import StoredProgress, StoredStudy
from antifragile.store.store import Store
from antifragile.study.executors.base import Executor
from antifragile.study.plan import StudyPlan

_POLL_S = 0.5
_MEASURED_FROM_S = 2.0  # what came before says too little about the speed of this machine


@dataclass(frozen=True, kw_only=True)
class StudyProgress:
    """Progress of a running study.

    Args:
        study: The study.
        stored: Counts of its store.
        running: Labels of the tasks being worked on.
        seconds: Wall time of this run.
        share_done: Share of the study's predicted time that is recorded, 0 to 1.
        seconds_left: Expected wall time until the end; None while nothing was measured.
    """

    study: StoredStudy
    stored: StoredProgress
    running: list[str]
    seconds: float
    share_done: float
    seconds_left: float | None


ProgressListener = Callable[[StudyProgress], None]


@contextmanager
def reporting(
    listener: ProgressListener | None,
    plan: StudyPlan,
    store: Store,
    study: StoredStudy,
    executor: Executor,
) -> Iterator[None]:
    """Call the listener now, from a thread that asks the store, and once more at the end."""
    if listener is None:
        yield
        return
    reporter = _Reporter(plan, store, study, executor)
    stop = threading.Event()

    def poll() -> None:
        while not stop.wait(_POLL_S):
            with suppress(WorldError):  # the store does not answer; who writes to it says so
                listener(reporter.progress())

    # A memory store has one connection, which the training thread is using.
    thread = threading.Thread(target=poll, daemon=True)
    listener(reporter.progress())
    if not store.is_memory:
        thread.start()
    try:
        yield
    finally:
        stop.set()
        if thread.is_alive():
            thread.join()
    listener(reporter.progress())


class _Reporter:
    """Measures a run against its plan, from the moment it is made."""

    def __init__(
        self, plan: StudyPlan, store: Store, study: StoredStudy, executor: Executor
    ) -> None:
        self._plan, self._store, self._study, self._executor = plan, store, study, executor
        self._started = time.monotonic()
        self._first_share: float | None = None

    def progress(self) -> StudyProgress:
        spec = self._study.spec
        stored = self._store.progress(spec.name, spec.meta_loops)
        seconds = time.monotonic() - self._started
        share = self._plan.share_done(stored.records)
        if self._first_share is None:
            self._first_share = share
        return StudyProgress(
            study=self._study,
            stored=stored,
            running=self._executor.running(),
            seconds=seconds,
            share_done=share,
            seconds_left=_seconds_left(seconds, self._first_share, share),
        )


def _seconds_left(seconds: float, first_share: float, share: float) -> float | None:
    """Predicted time of what is left, rescaled by what the work done so far really took."""
    if share >= 1:
        return 0.0
    gained = share - first_share
    if gained <= 0 or seconds < _MEASURED_FROM_S:
        return None
    return seconds * (1 - share) / gained
