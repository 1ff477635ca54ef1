"""Limits of jobs: of all that they start, and by each mechanism of the kernel alone."""

from __future__ import annotations

import errno
import json
import os
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from antifragile.ablate.sandbox.job import Failure, Job, Limits, Outcome
from antifragile.ablate.sandbox.limits import landlock
from antifragile.ablate.sandbox.limits.group import end_marked
from antifragile.ablate.sandbox.limits.mechanisms import NONE, Mechanisms
from antifragile.ablate.sandbox.limits.probe import find_mechanisms, held_limits
from antifragile.ablate.sandbox.server import Server
from antifragile.errors import WorldError
from tests.ablate.sandbox import escaping
from tests.ablate.sandbox.sleepers import sleepers

if sys.platform != "linux":
    pytest.skip("the kernel's limits are Linux's", allow_module_level=True)

MIB = 2**20
HERE = find_mechanisms()
ALL, WITHOUT_NAMESPACES = (
    Mechanisms(),
    Mechanisms(process_namespace=False, mount_namespace=False, network_namespace=False),
)
LIMITS = Limits(timeout_s=20, memory_bytes=256 * MIB, files_bytes=64 * MIB, processes=20)
Run = Callable[..., Outcome]


@pytest.fixture(scope="module", autouse=True)
def tests_are_found() -> Iterator[None]:
    """Let servers, which know the installed package alone, import `escaping`."""
    with pytest.MonkeyPatch.context() as patch:
        root = str(Path(__file__).parents[3])
        patch.setenv("PYTHONPATH", os.pathsep.join([root, *filter(None, sys.path)]))
        yield


@pytest.fixture(scope="module")
def servers(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[[Mechanisms], Server]]:
    """Servers by their mechanisms, each started once."""
    started: dict[Mechanisms, Server] = {}

    def server(mechanisms: Mechanisms) -> Server:
        if mechanisms not in started:
            preload = (escaping.__name__,)
            started[mechanisms] = Server(
                workers=2, limits=LIMITS, preload=preload, mechanisms=mechanisms
            )
        return started[mechanisms]

    yield server
    for running in started.values():
        running.close()


@pytest.fixture
def run(servers: Callable[[Mechanisms], Server], tmp_path: Path) -> Run:
    """Run a function of `escaping` in a copy of an empty project."""
    source = tmp_path / "project"
    source.mkdir()

    def running(
        target: Callable[..., object], mechanisms: Mechanisms, **arguments: object
    ) -> Outcome:
        job = Job(
            target=target,
            folder=str(tmp_path / "copy"),
            arguments=arguments,
            copied_from=(str(source),),
        )
        return servers(mechanisms).run_one(job)

    return running


def needs(**mechanisms: object) -> pytest.MarkDecorator:
    missing = [name for name, least in mechanisms.items() if getattr(HERE, name) < least]
    return pytest.mark.skipif(bool(missing), reason=f"this system lacks {', '.join(missing)}")


either = pytest.mark.parametrize(
    "mechanisms",
    [
        pytest.param(ALL, marks=needs(process_namespace=True), id="namespaces"),
        pytest.param(WITHOUT_NAMESPACES, marks=needs(adoption=True), id="adoption"),
    ],
)


@pytest.fixture
def nap() -> str:
    """Seconds that no other process sleeps."""
    return f"100.{os.getpid()}{time.monotonic_ns()}"


@either
def test_what_moves_to_another_session_ends_with_the_job(
    run: Run, mechanisms: Mechanisms, nap: str
) -> None:
    assert run(escaping.leaves_daemons, mechanisms, nap=nap).value == 3
    assert sleepers(nap) == []


@either
def test_it_ends_at_the_time_limit_too(run: Run, mechanisms: Mechanisms, nap: str) -> None:
    with Server(limits=replace(LIMITS, timeout_s=1.5), mechanisms=mechanisms) as server:
        root = str(Path(__file__).parents[3])
        arguments = {"nap": nap, "then": 50}
        job = Job(target=escaping.leaves_daemons, folder=".", paths=(root,), arguments=arguments)
        assert server.run_one(job).failure is Failure.TIMEOUT
        assert sleepers(nap) == []


@either
def test_memory_of_forks_is_counted_together(run: Run, mechanisms: Mechanisms) -> None:
    outcome = run(escaping.forks_that_eat, mechanisms, each_mib=120, count=4)
    assert (outcome.failure, outcome.reason) == (
        Failure.MEMORY,
        "needed more than the memory limit of 0.25 GiB",
    )


@either
@pytest.mark.skipif(not HERE.shares, reason="this kernel does not say who shares what")
def test_memory_that_forks_share_counts_once(run: Run, mechanisms: Mechanisms) -> None:
    assert run(escaping.forks_that_share, mechanisms, mib=120, count=8).failure is None


def test_without_shares_it_counts_for_each(run: Run) -> None:
    mechanisms = replace(ALL, shares=False)
    outcome = run(escaping.forks_that_share, mechanisms, mib=120, count=8)
    assert outcome.failure is Failure.MEMORY


@either
def test_memory_in_files_without_a_name_is_counted(run: Run, mechanisms: Mechanisms) -> None:
    mechanisms = replace(mechanisms, call_filter=False)
    assert run(escaping.eats_by_memfd, mechanisms, mib=600).failure is Failure.MEMORY


@either
@needs(call_filter=True)
def test_memory_that_no_count_sees_is_refused(run: Run, mechanisms: Mechanisms) -> None:
    said = run(escaping.makes_memory_that_no_count_sees, mechanisms).value
    assert said == dict.fromkeys(("segment", "file", "ring"), errno.ENOSYS)


@needs(mount_namespace=True)
def test_shared_memory_by_name_counts_with_the_rest(run: Run) -> None:
    outcome = run(escaping.fills_shared_memory, ALL, mib=200, own_mib=150)
    assert outcome.failure is Failure.MEMORY


@needs(mount_namespace=True)
def test_a_socket_where_services_put_theirs_is_covered_though_no_list_names_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with tempfile.TemporaryDirectory(dir="/var/tmp") as place:
        monkeypatch.chdir(place)
        with socket.socket(socket.AF_UNIX) as door:
            door.bind("service")
            door.listen()
            (tmp_path / "source").mkdir()
            job = Job(
                target=escaping.calls,
                folder=str(tmp_path / "copy"),
                arguments={"place": f"{place}/service"},
                copied_from=(str(tmp_path / "source"),),
            )
            with Server(limits=LIMITS) as later:
                assert later.run_one(job).value != ""


@either
def test_workers_of_a_data_loader_send_their_tensors(run: Run, mechanisms: Mechanisms) -> None:
    assert run(escaping.reads_with_workers, mechanisms).value == 28


@either
@pytest.mark.parametrize("function", ["fills_with_files", "fills_with_removed_files"])
def test_all_files_together_are_limited(run: Run, mechanisms: Mechanisms, function: str) -> None:
    outcome = run(getattr(escaping, function), mechanisms)
    assert (outcome.failure, outcome.reason) == (
        Failure.FILES,
        "wrote more files than the limit of 0.0625 GiB",
    )


@either
@pytest.mark.parametrize(
    ("name", "depth", "mode"), [("d" * 250, 20, 0o700), ("d", 1, 0o300)], ids=["deep", "closed"]
)
def test_files_that_are_hard_to_find_are_limited_too(
    run: Run, mechanisms: Mechanisms, tmp_path: Path, name: str, depth: int, mode: int
) -> None:
    arguments = {"name": name, "depth": depth, "mode": mode, "mib": 96}
    assert run(escaping.nests_folders, mechanisms, **arguments).failure is Failure.FILES
    assert not (tmp_path / "copy").exists()


@either
def test_each_file_is_limited(run: Run, mechanisms: Mechanisms) -> None:
    assert (
        "OSError: [Errno 27] File too large" in run(escaping.writes_a_large_file, mechanisms).reason
    )


@either
def test_the_number_of_processes_is_limited(run: Run, mechanisms: Mechanisms) -> None:
    outcome = run(escaping.forks, mechanisms, count=60)
    assert (outcome.failure, outcome.reason) == (
        Failure.PROCESSES,
        "started more than 20 processes",
    )


@needs(landlock=landlock.KEEPS_FILES)
@pytest.mark.parametrize(
    "mechanisms",
    [
        replace(WITHOUT_NAMESPACES, landlock=HERE.landlock),
        pytest.param(replace(ALL, landlock=0), marks=needs(mount_namespace=True)),
    ],
    ids=["landlock", "mounts"],
)
def test_each_of_two_mechanisms_keeps_files(
    run: Run, mechanisms: Mechanisms, tmp_path: Path
) -> None:
    (tmp_path / "file").write_text("precious")
    failed = run(escaping.writes_natively, mechanisms, folder=str(tmp_path)).value
    assert sorted(failed) == ["creat", "link", "mkdir", "open", "rename", "unlink"]
    assert (tmp_path / "file").read_text() == "precious"
    assert {path.name for path in tmp_path.iterdir()} == {"file", "project"}


@needs(mount_namespace=True)
def test_mounts_keep_modes_and_times_from_further_programs(run: Run, tmp_path: Path) -> None:
    (tmp_path / "file").touch(mode=0o640)
    before = (tmp_path / "file").stat()
    assert run(escaping.changes_mode_and_time, ALL, path=str(tmp_path / "file")).failure is None
    assert (tmp_path / "file").stat()[:-1] == before[:-1]


@needs(network_namespace=True)
def test_a_job_has_a_loopback_of_its_own_and_nothing_else(run: Run) -> None:
    said = run(escaping.talks, ALL, address=own_address()).value
    assert said == {"loopback": "", "TCP": "OSError", "UDP": "OSError"}


@needs(landlock=landlock.KEEPS_TCP)
def test_landlock_takes_tcp_away(run: Run) -> None:
    said = run(escaping.talks, WITHOUT_NAMESPACES, address=own_address()).value
    assert said == {"loopback": "PermissionError", "TCP": "PermissionError", "UDP": ""}


def own_address() -> str:
    return "192.0.2.1"  # kept for documentation; nobody has it


@needs(landlock=landlock.KEEPS_SIGNALS)
@either
def test_a_job_cannot_stop_its_server(run: Run, mechanisms: Mechanisms) -> None:
    assert run(escaping.signals, mechanisms, to="parent").value == []
    assert run(escaping.signals, mechanisms, to="all").value == []


def test_a_server_that_is_stopped_is_noticed_and_ended(nap: str) -> None:
    """Nothing but the group is held, and the model stops the process above its keeper."""
    mechanisms = replace(NONE, adoption=True)
    began = time.monotonic()
    with Server(limits=replace(LIMITS, timeout_s=60), mechanisms=mechanisms) as server:
        root, arguments = str(Path(__file__).parents[3]), {"nap": nap}
        job = Job(target=escaping.stops_server, folder=".", paths=(root,), arguments=arguments)
        with pytest.raises(WorldError, match=r"was stopped, perhaps by the model, and was ended"):
            server.run_one(job)
        assert server._pipe.process.returncode is not None
    assert time.monotonic() - began < 20
    assert sleepers(nap) == []


def test_a_keeper_that_is_killed_leaves_nothing(nap: str) -> None:
    mechanisms = replace(NONE, adoption=True)
    with Server(limits=LIMITS, mechanisms=mechanisms) as server:
        root, arguments = str(Path(__file__).parents[3]), {"nap": nap}
        job = Job(target=escaping.kills_keeper, folder=".", paths=(root,), arguments=arguments)
        assert server.run_one(job).reason == "crashed (SIGKILL)"
        assert sleepers(nap) == []


def test_what_is_left_is_found_by_its_environment(nap: str) -> None:
    variables = {**os.environ, "ANTIFRAGILE_TEST": nap}
    left = subprocess.Popen(["sleep", nap], env=variables, start_new_session=True)
    end_marked(f"ANTIFRAGILE_TEST={nap}")
    assert left.wait(timeout=5) == -9


@needs(process_namespace=True)
def test_a_job_sees_itself_and_has_no_rights(run: Run) -> None:
    assert run(escaping.looks_around, ALL).value == {
        "processes": (1,),
        "capabilities": 2 if os.geteuid() == 0 else 0,
        "rights regained": "refused",
        "home": True,
    }


def test_training_runs_are_not_held(servers: Callable[[Mechanisms], Server], nap: str) -> None:
    root, arguments = str(Path(__file__).parents[3]), {"nap": nap}
    job = Job(target=escaping.leaves_daemons, folder=".", paths=(root,), arguments=arguments)
    assert servers(NONE).run_one(job).value == 3
    left = sleepers(nap)
    for pid in left:
        os.kill(pid, 9)
    assert len(left) == 3


@pytest.mark.skipif(os.geteuid() != 0, reason="all tests run as an ordinary user")
def test_an_ordinary_user_has_the_same_mechanisms() -> None:
    """No rights are needed where the system lets its users make namespaces."""
    switch = Path("/proc/sys/kernel/apparmor_restrict_unprivileged_userns")
    if switch.exists() and switch.read_text().strip() != "0":
        pytest.skip("this system gives namespaces to root alone")
    done = subprocess.run([sys.executable, "-c", ORDINARY], capture_output=True, check=True)
    assert Mechanisms(**json.loads(done.stdout)) == HERE


ORDINARY = """
import dataclasses, json, os
from antifragile.ablate.sandbox.limits import kernel, mechanisms, namespaces
os.setgroups([])
os.setgid(65534)
os.setuid(65534)
kernel.control(4, 1)  # as a program that was started by this user
kernel.forbid_new_privileges()
print(json.dumps(dataclasses.asdict(namespaces.available(mechanisms.Mechanisms()))))
"""


@pytest.mark.parametrize(
    ("mechanisms", "strengths"),
    [
        (replace(ALL, landlock=7), ["full", "full", "full", "weaker", "full", "full"]),
        (
            replace(WITHOUT_NAMESPACES, landlock=7),
            ["weaker", "weaker", "weaker", "weaker", "full", "full"],
        ),
        (NONE, ["none", "weaker", "weaker", "none", "none", "none"]),
    ],
)
def test_each_limit_is_said_with_its_mechanism(
    mechanisms: Mechanisms, strengths: list[str]
) -> None:
    rows = held_limits(mechanisms)
    assert [row.strength for row in rows] == strengths
    assert all(len(row.mechanism) <= 46 for row in rows)


@either
def test_jobs_that_nobody_waits_for_are_ended(
    servers: Callable[[Mechanisms], Server], mechanisms: Mechanisms, nap: str
) -> None:
    server, root = servers(mechanisms), str(Path(__file__).parents[3])
    arguments = {"nap": nap, "then": 50}
    job = Job(target=escaping.leaves_daemons, folder=".", paths=(root,), arguments=arguments)
    server.run([job] * 5)
    until = time.monotonic() + 10
    while len(sleepers(nap)) < 6 and time.monotonic() < until:
        time.sleep(0.01)
    with pytest.raises(KeyError), server.stopping_jobs():
        raise KeyError
    assert sleepers(nap) == []
    assert server.run_one(replace(job, arguments={"nap": nap})).value == 3
