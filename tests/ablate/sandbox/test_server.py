"""Jobs in processes of their own: whatever they do, one clear ending, and nothing left behind."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from antifragile.ablate.records import Entry
from antifragile.ablate.sandbox.job import Failure, Job, Limits, Outcome
from antifragile.ablate.sandbox.server import Server
from antifragile.errors import WorldError
from tests.ablate.sandbox import misbehaving
from tests.ablate.sandbox.sleepers import sleepers

MIB = 2**20
ROOT = str(Path(__file__).parents[3])
HERE = str(Path(__file__).parent)
TORCH = ("torch",)


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    limits = Limits(timeout_s=60.0, memory_bytes=256 * MIB)
    with Server(workers=2, limits=limits, preload=TORCH) as running:
        yield running


@pytest.fixture(scope="module")
def impatient() -> Iterator[Server]:
    with Server(workers=2, limits=Limits(timeout_s=2.0), preload=TORCH) as running:
        yield running


def job(target: Callable[..., object], **arguments: object) -> Job:
    return Job(target=target, folder=HERE, paths=(ROOT,), arguments=arguments)


def run(server: Server, target: Callable[..., object], **arguments: object) -> Outcome:
    return server.run_one(job(target, **arguments))


def test_a_job_gets_its_arguments_and_folder_and_one_thread(server: Server) -> None:
    outcome = run(server, misbehaving.works, x=[1, "two", None])
    assert outcome.failure is None
    assert outcome.value == {
        "x": (1, "two", None),
        "threads": 1,
        "folder": HERE,
        "pair": (1, 2.5),
    }


def test_what_a_job_prints_is_not_heard(server: Server, capfd: pytest.CaptureFixture[str]) -> None:
    run(server, misbehaving.works, x=1)
    assert capfd.readouterr() == ("", "")


def test_records_of_ours_come_back_as_they_are(server: Server) -> None:
    assert run(server, misbehaving.record).value == Entry(file="a.py", function="f")


@pytest.mark.parametrize(
    ("function", "failure", "reason"),
    [
        ("eat_tensors", Failure.MEMORY, "needed more than the memory limit of 0.25 GiB"),
        ("eat_objects", Failure.MEMORY, "needed more than the memory limit of 0.25 GiB"),
        ("eat_shared_memory", Failure.MEMORY, "needed more than the memory limit of 0.25 GiB"),
        ("exits", Failure.EXITED, "called sys.exit(3)"),
        ("leaves", Failure.EXITED, "ended the process with exit code 0"),
        ("crashes", Failure.CRASHED, "crashed (SIGSEGV)"),
        ("raises", Failure.RAISED, "raised ValueError: no good (misbehaving.py, line 79)"),
        (
            "asks",
            Failure.RAISED,
            "raised EOFError: EOF when reading a line (misbehaving.py, line 83)",
        ),
        ("stumbles", Failure.CRASHED, "the second step crashed (SIGSEGV)"),
    ],
)
def test_a_failure_is_one_sentence(
    server: Server, function: str, failure: Failure, reason: str
) -> None:
    outcome = run(server, getattr(misbehaving, function))
    assert (outcome.failure, outcome.reason) == (failure, reason)


def test_what_hangs_is_ended_though_it_ignores_signals(impatient: Server) -> None:
    outcome = run(impatient, misbehaving.hang)
    assert (outcome.failure, outcome.reason) == (Failure.TIMEOUT, "did not end within 2 s")


def test_endless_recursion_is_told(server: Server) -> None:
    assert "RecursionError" in run(server, misbehaving.recurses).reason


def test_the_server_has_imported_torch_and_nothing_heavy_else(server: Server) -> None:
    assert run(server, misbehaving.sees_the_others).value == []


def test_a_failure_leaves_the_next_job_as_it_was(server: Server) -> None:
    jobs = [
        job(misbehaving.crashes),
        job(misbehaving.works, x=1),
        job(misbehaving.exits),
    ]
    ended = dict(server.run([*jobs, jobs[1]]))
    assert [ended[n].failure for n in range(4)] == ["crashed", None, "exited", None]


def test_modules_can_be_imported_ahead_of_later_children(server: Server) -> None:
    server.preload("colorsys", "no_such_module")
    assert "colorsys" in run(server, misbehaving.loaded).value


@pytest.mark.parametrize("how", ["closed", "killed"])
def test_a_successor_has_the_packages_and_ends_with_its_server(tmp_path: Path, how: str) -> None:
    with Server() as server:
        server.import_packages(["colorsys", "fractions"], tmp_path)
        assert server.packages == ("colorsys", "fractions")
        assert "colorsys" in run(server, misbehaving.loaded).value
        group = server._pipe.process.pid  # its own, of which the successor is a member
        if how == "killed":
            os.kill(group, signal.SIGKILL)
    assert eventually(lambda: not is_there(group))


def test_packages_can_be_given_back(tmp_path: Path) -> None:
    with Server() as server:
        assert not server.give_back_packages()
        server.import_packages(["colorsys", "no_such_module", "fractions"], tmp_path)
        assert server.packages == ("colorsys",)
        assert server.give_back_packages()
        assert server.packages == ()
        assert "colorsys" not in run(server, misbehaving.loaded).value
        assert not server.give_back_packages()


def is_there(group: int) -> bool:
    try:
        os.killpg(group, 0)
    except ProcessLookupError:
        return False
    return True


def eventually(holds: Callable[[], bool]) -> bool:
    until = time.monotonic() + 5
    while not holds() and time.monotonic() < until:
        time.sleep(0.01)
    return holds()


def test_a_run_keeps_what_ends_while_another_is_read(server: Server) -> None:
    jobs = [job(misbehaving.works, x=x) for x in (1, 2)]
    first, second = (server.run([job]) for job in jobs)
    alone = {x: run(server, misbehaving.works, x=x).value for x in (1, 2)}
    assert [outcome.value for _, outcome in second] == [alone[2]]
    assert [outcome.value for _, outcome in first] == [alone[1]]
    assert alone[1] != alone[2]


def test_two_workers_work_at_the_same_time(impatient: Server) -> None:
    run(impatient, misbehaving.works, x=0)
    began = time.monotonic()
    hanging = [job(misbehaving.hang) for _ in range(2)]
    assert [outcome.failure for _, outcome in impatient.run(hanging)] == ["timeout", "timeout"]
    assert time.monotonic() - began < 3.9


def test_a_child_costs_far_less_than_an_import(server: Server) -> None:
    run(server, misbehaving.works, x=0)
    seconds = [run(server, misbehaving.works, x=n).seconds for n in range(20)]
    assert sorted(seconds)[10] < 0.5


def test_nothing_runs_after_close(tmp_path: Path) -> None:
    with Server(workers=2, limits=Limits(timeout_s=100), preload=TORCH) as server:
        nap = f"100.{os.getpid()}{time.monotonic_ns()}"
        slow = job(misbehaving.sleeps, path=str(tmp_path / "asleep"), nap=nap)
        quick = job(misbehaving.works, x=1)
        running = server.run([slow, quick])
        assert next(running)[0] == 1
        assert eventually(lambda: (tmp_path / "asleep").exists() and sleepers(nap) != [])
    assert sleepers(nap) == []


def test_a_server_that_cannot_start_says_why() -> None:
    with (
        Server(preload=["no_such_framework"]) as server,
        pytest.raises(WorldError, match="No module named 'no_such_framework'"),
    ):
        run(server, misbehaving.works, x=1)


SECRETS = {
    "PGPASSWORD": "x",
    "PGPASSFILE": "x",
    "HF_TOKEN": "x",
    "AWS_SECRET_ACCESS_KEY": "x",
    "OPENAI_API_KEY": "x",
    "DATABASE_URL": "postgresql://me:x@host/db",
    "STORE": "postgresql://host/db?password=x",
}
OTHERS = {
    "TOKENIZERS_PARALLELISM": "false",
    "PROXY": "http://host:3128",
    "DATA_KEYS": "a,b",
    "KERAS_BACKEND": "torch",
}


@pytest.mark.parametrize("is_private", [True, False])
def test_secrets_of_the_environment_stay_with_the_user(
    monkeypatch: pytest.MonkeyPatch, *, is_private: bool
) -> None:
    for name, value in (SECRETS | OTHERS).items():
        monkeypatch.setenv(name, value)
    with Server(preload=TORCH, has_private_home=is_private) as server:
        found = run(server, misbehaving.variables).value
    assert OTHERS.items() <= found.items()
    assert SECRETS.keys() & found.keys() == (set() if is_private else SECRETS.keys())


def test_the_password_of_an_address_is_in_no_reason(server: Server) -> None:
    reason = run(server, misbehaving.tells_an_address).reason
    assert "cannot reach postgresql://me:***@host/db" in reason
