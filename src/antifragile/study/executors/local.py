"""The local executor: tasks in worker processes of this machine.

A worker opens the store and loads the data for itself; it ends with its driver.
"""

from __future__ import annotations

import multiprocessing
import os
import signal
import threading
from collections.abc import Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from functools import lru_cache
from multiprocessing import resource_tracker
from multiprocessing.connection import wait as wait_for_sentinel
from pathlib import Path

from antifragile.config.specs.training import Normalization
from antifragile.data.datasets import load_dataset
from antifragile.data.splits import Dataset
from antifragile.errors import WorldError
from antifragile.store.store import Store
from antifragile.study.executors.base import Resources
from antifragile.study.tasks import Task, run_task


class LocalExecutor:
    """Runs tasks in spawned processes, each with its own store and data.

    The bits of a result do not depend on the number of workers: threads are fixed per task.
    """

    def __init__(self, resources: Resources) -> None:
        self._workers = resources.workers
        self._futures: dict[Future[None], Task] = {}

    def run(self, tasks: Sequence[Task]) -> Iterator[Task]:
        """Run the tasks, a few handed out ahead of time.

        Raises:
            WorldError: A worker died; what it had written stays.
        """
        waiting = list(reversed(tasks))
        pool = ProcessPoolExecutor(
            self._workers,
            mp_context=multiprocessing.get_context("spawn"),
            initializer=_start_worker,
        )
        try:
            while waiting or self._futures:
                while waiting and len(self._futures) < 2 * self._workers:
                    task = waiting.pop()
                    with _interrupts_held():
                        self._futures[pool.submit(_run_in_worker, task)] = task
                done, _ = wait(self._futures, return_when=FIRST_COMPLETED)
                for future in done:
                    task = self._futures.pop(future)
                    future.result()
                    yield task
        except BrokenProcessPool as error:
            raise WorldError(
                "a worker process died (killed, or out of memory); finished work is stored, run "
                "the same command again to go on, with fewer --workers if memory was short."
            ) from error
        finally:
            self._futures.clear()
            _stop(pool)

    def running(self) -> list[str]:
        """Tasks that a worker has begun."""
        return [task.label for future, task in list(self._futures.items()) if future.running()]


def _stop(pool: ProcessPoolExecutor) -> None:
    """End the workers at once; what they were at is in the store up to the last checkpoint."""
    processes = list((getattr(pool, "_processes", None) or {}).values())
    pool.shutdown(wait=False, cancel_futures=True)
    for process in processes:
        process.terminate()
    for process in processes:
        process.join()


@contextmanager
def _interrupts_held() -> Iterator[None]:
    """Start workers that ignore Ctrl-C, which a terminal sends to every process of the group.

    The driver ends them. A worker inherits the blocked signal; if it ignored the signal by itself,
    it could do so only after its imports, and would until then die with a traceback.
    """
    resource_tracker.ensure_running()  # started later, it would lift the block
    in_main = threading.current_thread() is threading.main_thread()
    pressed: list[object] = []
    # Another thread may take the signal in spite of the block, so it is also put off here: a
    # worker that is cut off while it is being started dies with a traceback.
    before = signal.signal(signal.SIGINT, lambda *_: pressed.append(1)) if in_main else None
    held = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, held)
        if in_main:
            signal.signal(signal.SIGINT, before)
    if pressed:
        raise KeyboardInterrupt


def _start_worker() -> None:
    """In a new worker: do not outlive the driver."""
    threading.Thread(target=_exit_with_parent, daemon=True).start()


def _exit_with_parent() -> None:
    parent = multiprocessing.parent_process()
    assert parent is not None
    wait_for_sentinel([parent.sentinel])
    os._exit(1)


def _run_in_worker(task: Task) -> None:
    store = _worker_store(task.store_url)
    first = task.trials[0].spec
    data = _worker_data(
        first.dataset, task.data_dir, first.training.normalization, task.environment.device
    )
    run_task(task, store, data)


@lru_cache(maxsize=1)
def _worker_store(url: str) -> Store:
    return Store(url, create=False)


@lru_cache(maxsize=1)
def _worker_data(
    name: str, data_dir: Path | None, normalization: Normalization, device: str
) -> Dataset:
    return load_dataset(name, data_dir=data_dir, normalization=normalization).to(device)
