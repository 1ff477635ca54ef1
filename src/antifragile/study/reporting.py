"""What a display is told while a study runs, from a thread that asks the store."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

from antifragile.store.records import StoredStudy
from antifragile.store.store import Store
from antifragile.study.executors.local import Executor
from antifragile.study.options import Listener, Progress

_POLL_S = 0.5


@contextmanager
def reporting(
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
