"""Jobs in processes of their own: whatever they do, one clear ending, and nothing left behind."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from antifragile.ablate.records import Entry
from antifragile.ablate.sandbox.server import Failure, Job, Limits, Outcome, Server
from antifragile.errors import WorldError

MIB = 2**20
EVIL = """
import os, sys, time, ctypes, signal
import torch

def works(x):
    print("printed", flush=True)
    return {"x": x, "threads": torch.get_num_threads(), "folder": os.getcwd(), "pair": (1, 2.5)}

def record():
    from antifragile.ablate.records import Entry
    return Entry(file="a.py", function="f")

def hang():
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    while True:
        pass

def eat_tensors():
    held = []
    while True:
        held.append(torch.ones(1_000_000))

def eat_objects():
    held = []
    while True:
        held.append(str(len(held)) * 100_000)

def eat_shared_memory():
    held = []
    while True:
        held.append(torch.ones(1_000_000).share_memory_())

def exits():
    sys.exit(3)

def leaves():
    os._exit(0)

def crashes():
    ctypes.string_at(0)

def recurses():
    return recurses()

def raises():
    raise ValueError("no\\n  good")

def asks():
    return input("name? ")

def tensor():
    return torch.ones(2)

def stranger():
    import fractions
    return fractions.Fraction(1, 3)

def leaves_a_child_behind():
    child = os.fork()
    if child == 0:
        time.sleep(100)
    return child

def sees_the_others():
    return [name for name in sys.modules if name.split(".")[0] in ("pandas", "scipy", "libcst")]

def loaded():
    return list(sys.modules)

def stumbles():
    from antifragile.ablate.sandbox.loading import stage
    with stage("the second step"):
        crashes()
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("evil")
    (path / "evil.py").write_text(EVIL)
    return path


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    with Server(workers=2, limits=Limits(timeout_s=60.0, memory_bytes=256 * MIB)) as running:
        yield running


@pytest.fixture(scope="module")
def impatient() -> Iterator[Server]:
    with Server(workers=2, limits=Limits(timeout_s=2.0)) as running:
        yield running


def run(server: Server, folder: Path, function: str, **arguments: object) -> Outcome:
    return server.run_one(Job(target=f"evil:{function}", folder=str(folder), arguments=arguments))


def test_a_job_gets_its_arguments_and_folder_and_one_thread(server: Server, folder: Path) -> None:
    outcome = run(server, folder, "works", x=[1, "two", None])
    assert outcome.failure is None
    assert outcome.value == {
        "x": [1, "two", None],
        "threads": 1,
        "folder": str(folder),
        "pair": (1, 2.5),
    }


def test_what_a_job_prints_is_not_heard(
    server: Server, folder: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    run(server, folder, "works", x=1)
    assert capfd.readouterr() == ("", "")


def test_records_of_ours_come_back_as_they_are(server: Server, folder: Path) -> None:
    assert run(server, folder, "record").value == Entry(file="a.py", function="f")


@pytest.mark.parametrize(
    ("function", "failure", "reason"),
    [
        ("eat_tensors", Failure.MEMORY, "needed more than the memory limit of 0.25 GiB"),
        ("eat_objects", Failure.MEMORY, "needed more than the memory limit of 0.25 GiB"),
        ("eat_shared_memory", Failure.MEMORY, "needed more than the memory limit of 0.25 GiB"),
        ("exits", Failure.EXITED, "called sys.exit(3)"),
        ("leaves", Failure.EXITED, "ended the process with exit code 0"),
        ("crashes", Failure.CRASHED, "crashed (SIGSEGV)"),
        ("raises", Failure.RAISED, "raised ValueError: no good (evil.py, line 46)"),
        ("asks", Failure.RAISED, "raised EOFError: EOF when reading a line (evil.py, line 49)"),
        (
            "absent",
            Failure.RAISED,
            "raised AttributeError: module 'evil' has no attribute 'absent'",
        ),
        ("stumbles", Failure.CRASHED, "the second step crashed (SIGSEGV)"),
    ],
)
def test_a_failure_is_one_sentence(
    server: Server, folder: Path, function: str, failure: Failure, reason: str
) -> None:
    outcome = run(server, folder, function)
    assert (outcome.failure, outcome.reason) == (failure, reason)


def test_what_hangs_is_ended_though_it_ignores_signals(impatient: Server, folder: Path) -> None:
    outcome = run(impatient, folder, "hang")
    assert (outcome.failure, outcome.reason) == (Failure.TIMEOUT, "did not end within 2 s")


def test_endless_recursion_is_told(server: Server, folder: Path) -> None:
    assert "RecursionError" in run(server, folder, "recurses").reason


@pytest.mark.parametrize("function", ["tensor", "stranger"])
def test_an_answer_that_is_not_plain_data_is_not_read(
    server: Server, folder: Path, function: str
) -> None:
    outcome = run(server, folder, function)
    assert (outcome.value, outcome.failure) == (None, Failure.EXITED)


def test_the_server_has_imported_torch_and_nothing_heavy_else(server: Server, folder: Path) -> None:
    assert run(server, folder, "sees_the_others").value == []


def test_what_a_child_starts_ends_with_it(server: Server, folder: Path) -> None:
    grandchild = run(server, folder, "leaves_a_child_behind").value
    assert ends(grandchild)


def test_a_failure_leaves_the_next_job_as_it_was(server: Server, folder: Path) -> None:
    jobs = [
        Job(target=f"evil:{name}", folder=str(folder), arguments=arguments)
        for name, arguments in [("crashes", {}), ("works", {"x": 1}), ("exits", {})]
    ]
    ended = dict(server.run([*jobs, jobs[1]]))
    assert [ended[n].failure for n in range(4)] == ["crashed", None, "exited", None]


def test_modules_can_be_imported_ahead_of_later_children(server: Server, folder: Path) -> None:
    server.preload("colorsys", "no_such_module")
    assert "colorsys" in run(server, folder, "loaded").value


def test_a_run_keeps_what_ends_while_another_is_read(server: Server, folder: Path) -> None:
    jobs = [Job(target="evil:works", folder=str(folder), arguments={"x": x}) for x in (1, 2)]
    first, second = (server.run([job]) for job in jobs)
    alone = {x: run(server, folder, "works", x=x).value for x in (1, 2)}
    assert [outcome.value for _, outcome in second] == [alone[2]]
    assert [outcome.value for _, outcome in first] == [alone[1]]
    assert alone[1] != alone[2]


def test_two_workers_work_at_the_same_time(impatient: Server, folder: Path) -> None:
    run(impatient, folder, "works", x=0)
    began = time.monotonic()
    hanging = [Job(target="evil:hang", folder=str(folder)) for _ in range(2)]
    assert [outcome.failure for _, outcome in impatient.run(hanging)] == ["timeout", "timeout"]
    assert time.monotonic() - began < 3.9


def test_a_child_costs_far_less_than_an_import(server: Server, folder: Path) -> None:
    run(server, folder, "works", x=0)
    seconds = [run(server, folder, "works", x=n).seconds for n in range(20)]
    assert sorted(seconds)[10] < 0.5


def test_nothing_runs_after_close(folder: Path, tmp_path: Path) -> None:
    (tmp_path / "slow.py").write_text(
        "import os, time\ndef work(): open('pid', 'w').write(str(os.getpid())); time.sleep(100)\n"
    )
    with Server(workers=2, limits=Limits(timeout_s=100)) as server:
        slow = Job(target="slow:work", folder=str(tmp_path))
        quick = Job(target="evil:works", folder=str(folder), arguments={"x": 1})
        running = server.run([slow, quick])
        assert next(running)[0] == 1
        while not (tmp_path / "pid").exists() or not (tmp_path / "pid").read_text():
            time.sleep(0.01)
    assert ends(int((tmp_path / "pid").read_text()))


def test_a_server_that_cannot_start_says_why(folder: Path) -> None:
    with (
        Server(preload=["no_such_framework"]) as server,
        pytest.raises(WorldError, match="No module named 'no_such_framework'"),
    ):
        run(server, folder, "works", x=1)


def ends(pid: int) -> bool:
    """Whether a process is gone, or dead and not yet looked after, within seconds."""
    for _ in range(200):
        try:
            words = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
        except OSError:
            return True
        if words[0] == "Z":
            return True
        time.sleep(0.02)
    return False
