"""Two drivers of one study: the second is refused, or goes on; nothing is doubled or mixed."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from functools import cache
from pathlib import Path

import pytest
from sqlalchemy.exc import DBAPIError

from antifragile.errors import AntifragileError
from antifragile.store.check import check_store
from antifragile.store.store import Store
from antifragile.study.runner import run_study
from tests.contracts.test_store_contract import execute, rows
from tests.study.conftest import make_spec, write_toml

pytestmark = pytest.mark.slow
SPEC = make_spec(meta_loops=120)
CONTAINER = ("unshare", "--user", "--map-root-user", "--pid", "--fork", "--mount-proc")
NOT_DECIDED = ("seconds", "environment_id")


@cache
def reference(engine: str = "plain") -> tuple[object, object]:
    with run_study(SPEC, store="sqlite://", engine=engine).store as store:
        return content(store)


def content(store: Store) -> tuple[object, object]:
    """All trials and records of a study, without the times."""
    trials = [
        (t.architecture, t.mode, t.trial, t.recorded_meta_loops, t.result)
        for t in store.trials(SPEC.name)
    ]
    records = [
        {key: str(value) for key, value in row.items() if key not in NOT_DECIDED}
        for row in rows(store, SPEC.name)
    ]
    return trials, records


class Driver:
    """A running ``study run``."""

    def __init__(
        self, url: str, folder: Path, *options: str, within: tuple[str, ...] = (), **variables: str
    ) -> None:
        write_toml(SPEC, folder / "spec.toml")
        command = [*within, sys.executable, "-m", "antifragile", "study", "run", "spec.toml"]
        self.process = subprocess.Popen(
            [*command, "--store", url, "--checkpoint-every", "0", *options],
            cwd=folder,
            env=os.environ | variables,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )

    def signal(self, number: int) -> None:
        """Send a signal to the driver and its workers."""
        with suppress(ProcessLookupError):  # all of them have ended
            os.killpg(self.process.pid, number)

    def stop(self, url: str) -> None:
        """Let it stand still at a moment at which it does not hold the store."""
        while True:
            self.signal(signal.SIGSTOP)
            try:
                execute(url, "UPDATE owners SET since = since", wait_s=0.5)
            except DBAPIError:
                self.signal(signal.SIGCONT)
                time.sleep(0.05)
            else:
                return

    def end(self, timeout: float = 120) -> tuple[int, str]:
        _, errors = self.process.communicate(timeout=timeout)
        return self.process.returncode, errors


@contextmanager
def running(url: str, folder: Path, *options: str) -> Iterator[Driver]:
    """A driver that has stored some records, and is far from the end."""
    driver = Driver(url, folder, "--engine", "plain", *options)
    try:
        wait_for(lambda: n_records(url) > 20)
        assert driver.process.poll() is None
        yield driver
    finally:
        driver.signal(signal.SIGKILL)
        driver.process.communicate()


def n_records(url: str) -> int:
    try:
        with Store(url, create=False) as store:
            return sum(store.progress(SPEC.name, 1).records.values())
    except AntifragileError:  # it is being made
        return 0


def wait_for(is_true: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 60
    while not is_true():
        assert time.monotonic() < deadline
        time.sleep(0.05)


def is_whole(url: str) -> bool:
    with Store(url, create=False, is_trusted=True) as store:
        assert check_store(store) == []
        return content(store) == reference()


def other_places(url: str, folder: Path) -> Mapping[str, tuple[str, tuple[str, ...]]]:
    """The same store under other circumstances."""
    found = {
        "the same": (url, ("--engine", "plain")),
        "another folder of files": (url, ("--engine", "plain", "--files", "elsewhere")),
        "other conditions": (url, ("--engine", "fleet")),
        "mixed": (url, ("--engine", "fleet", "--mix-machines", "--files", "elsewhere")),
    }
    if "://" not in url:
        (folder / "link.db").symlink_to(url)
        found["a link"] = ("link.db", ("--engine", "plain"))
    return found


def test_a_second_driver_is_refused_and_the_first_ends_undisturbed(
    shared_url: str, tmp_path: Path
) -> None:
    with running(shared_url, tmp_path, "--workers", "2") as first:
        first.stop(shared_url)  # so that it does not end before all have met it
        for url, options in other_places(shared_url, tmp_path).values():
            second = Driver(url, tmp_path, *options, HOME=str(tmp_path / "home"))
            code, said = second.end()
            assert code == 2
            assert f"is being run by process {first.process.pid} on this machine" in said
        first.signal(signal.SIGCONT)
        assert first.end()[0] == 0
    assert is_whole(shared_url)


def test_a_killed_driver_is_followed_at_once(shared_url: str, tmp_path: Path) -> None:
    with running(shared_url, tmp_path) as first:
        first.signal(signal.SIGKILL)
        first.process.wait()
        code, said = Driver(shared_url, tmp_path, "--engine", "fleet").end()
        assert code == 2
        assert "was begun under other conditions" in said
        assert Driver(shared_url, tmp_path, "--engine", "plain").end()[0] == 0
    assert is_whole(shared_url)


@pytest.mark.parametrize(("workers", "files"), [("1", "the same"), ("2", "another")])
def test_a_driver_that_was_replaced_while_it_stood_still_ends_without_writing(
    workers: str, files: str, shared_url: str, tmp_path: Path
) -> None:
    own = ("--files", "first") if files == "another" else ()
    with running(shared_url, tmp_path, "--workers", workers, *own) as first:
        first.stop(shared_url)
        # As if it ran on another machine, silent for two minutes.
        execute(shared_url, "UPDATE owners SET boot_id = 'x', heartbeat = heartbeat - 120")
        second = Driver(shared_url, tmp_path, "--engine", "plain", "--files", "second")
        wait_for(lambda: second.process.poll() is not None or owner_of(shared_url) != "x")
        time.sleep(0.5)
        first.signal(signal.SIGCONT)
        code, said = first.end()
        assert code == 1
        assert "was taken from this process while it did not answer" in said
        assert "Traceback" not in said
        assert second.end()[0] == 0
    assert is_whole(shared_url)


@pytest.mark.timeout(300)
def test_a_minute_of_standing_still_counts_as_death_elsewhere(
    shared_url: str, tmp_path: Path
) -> None:
    if subprocess.run([*CONTAINER, "true"], capture_output=True).returncode != 0:
        pytest.skip("no namespaces of processes here")
    with running(shared_url, tmp_path) as first:
        first.stop(shared_url)
        stopped = time.monotonic()
        early = Driver(shared_url, tmp_path, "--engine", "plain", within=CONTAINER)
        code, said = early.end()
        assert code == 2
        assert f"is being run by process {first.process.pid} on " in said
        time.sleep(max(0.0, 62 - (time.monotonic() - stopped)))
        second = Driver(shared_url, tmp_path, "--files", "b", "--engine", "plain", within=CONTAINER)
        assert second.end()[0] == 0
        first.signal(signal.SIGCONT)
        code, said = first.end()
        assert (code, "was taken from this process while it did not answer" in said) == (1, True)
    assert is_whole(shared_url)


def owner_of(url: str) -> str:
    from sqlalchemy import select

    from antifragile.store.database.schema import owners

    with Store(url, create=False) as store, store.transaction() as connection:
        return str(connection.execute(select(owners.c.boot_id)).scalar())
