"""Functions that try to take more than they may, or to leave something, as targets of jobs."""

from __future__ import annotations

import ctypes
import os
import signal
import socket
import subprocess
import time
from pathlib import Path

MIB = 2**20


def _sleeping(nap: str, environment: dict[str, str]) -> None:
    """Become a process that is asleep, in a session of its own."""
    os.setsid()
    if os.fork() == 0:
        os.execvpe("sleep", ["sleep", nap], environment)
    os._exit(0)


def leaves_daemons(nap: str, then: float = 0.0) -> int:
    for environment in ({}, dict(os.environ), {"A": "B"}):
        if (child := os.fork()) == 0:
            _sleeping(nap, {"PATH": os.environ["PATH"], **environment})
        os.waitpid(child, 0)
    time.sleep(0.2 + then)
    return 3


def forks_that_eat(each_mib: int, count: int) -> None:
    for _ in range(count):
        if os.fork() == 0:
            held = bytearray(b"x") * (each_mib * MIB)
            time.sleep(60)
            del held
    time.sleep(60)


def forks_that_share(mib: int, count: int) -> None:
    held = bytearray(b"x") * (mib * MIB)
    children = []
    for _ in range(count):
        child = os.fork()
        if child == 0:
            time.sleep(1.5)
            os._exit(0)
        children.append(child)
    for child in children:
        os.waitpid(child, 0)
    del held


def eats_by_memfd(mib: int) -> None:
    files = [os.memfd_create("x") for _ in range(mib // 50)]
    for file in files:
        for _ in range(50):
            os.write(file, b"x" * MIB)
    time.sleep(20)


def makes_memory_that_no_count_sees() -> dict[str, int]:
    """Numbers of the errors, 0 where there is none."""
    libc = ctypes.CDLL(None, use_errno=True)
    made = {
        "segment": libc.shmget(0, MIB, 0o1600),
        "file": libc.memfd_create(b"x", 0),
        "ring": libc.syscall(425, 1, ctypes.create_string_buffer(120)),
    }
    return {name: ctypes.get_errno() if number < 0 else 0 for name, number in made.items()}


def fills_shared_memory(mib: int, own_mib: int) -> None:
    """Write files to it, and take memory of its own."""
    for number in range(mib):
        Path(f"/dev/shm/{number}").write_bytes(b"x" * MIB)
    held = bytearray(b"x") * (own_mib * MIB)
    time.sleep(20)
    del held


def calls(place: str) -> str:
    """The error of a connection to a socket in the file system, "" where there is none."""
    for one in socket.socketpair():
        one.close()
    try:
        with socket.socket(socket.AF_UNIX) as door:
            door.connect(place)
    except OSError as error:
        return type(error).__name__
    return ""


def fills_with_files() -> None:
    for number in range(10_000):
        Path(str(number)).write_bytes(b"x" * MIB)
        time.sleep(0.002)


def nests_folders(name: str, depth: int, mode: int, mib: int) -> None:
    """Write into the innermost of folders in folders, which are closed at the top."""
    top = Path.cwd()
    for _ in range(depth):
        Path(name).mkdir()
        os.chdir(name)
    (top / name).chmod(mode)
    for number in range(mib // 32):
        file = os.open(str(number), os.O_CREAT | os.O_WRONLY)
        os.posix_fallocate(file, 0, 32 * MIB)
        os.close(file)
    if mib:
        time.sleep(20)


def fills_with_removed_files() -> None:
    held = []
    for number in range(1000):
        file = os.open(str(number), os.O_WRONLY | os.O_CREAT)
        os.unlink(str(number))
        for _ in range(10):
            os.write(file, b"x" * MIB)
        held.append(file)
        time.sleep(0.02)


def writes_a_large_file() -> None:
    with Path("large").open("wb") as file:
        file.truncate(65 * MIB)


def forks(count: int) -> None:
    for _ in range(count):
        if os.fork() == 0:
            time.sleep(60)
            os._exit(0)
    time.sleep(60)


def writes_natively(folder: str) -> list[str]:
    """Names of the calls that failed."""
    libc, place = ctypes.CDLL(None), folder.encode()
    calls = {
        "creat": libc.creat(place + b"/new", 0o644),
        "open": libc.open(place + b"/file", os.O_WRONLY | os.O_TRUNC),
        "mkdir": libc.mkdir(place + b"/folder", 0o755),
        "link": libc.link(place + b"/file", b"hard"),
        "rename": libc.rename(place + b"/file", place + b"/other"),
        "unlink": libc.unlink(place + b"/file"),
    }
    return [name for name, result in calls.items() if result < 0]


def changes_mode_and_time(path: str) -> None:
    subprocess.run(["chmod", "777", path], check=False, stderr=subprocess.DEVNULL)
    subprocess.run(["touch", "-d", "2001-01-01", path], check=False, stderr=subprocess.DEVNULL)


def talks(address: str) -> dict[str, str]:
    """Names of the errors of connections, "" where there is none."""
    return {
        "loopback": _error_of_loopback(),
        "TCP": _error(socket.SOCK_STREAM, address),
        "UDP": _error(socket.SOCK_DGRAM, address),
    }


def _error_of_loopback() -> str:
    try:
        with socket.create_server(("127.0.0.1", 0)) as door:
            socket.create_connection(door.getsockname()).close()
    except OSError as error:
        return type(error).__name__
    return ""


def _error(kind: int, address: str) -> str:
    with socket.socket(type=kind) as door:
        door.settimeout(2)
        try:
            door.connect((address, 9))
        except OSError as error:
            return type(error).__name__
    return ""


def signals(to: str) -> list[int]:
    """Processes that took a signal to stop; none is to."""
    libc, own = ctypes.CDLL(None), os.getpid()
    everybody = [int(name) for name in os.listdir("/proc") if name.isdigit()]
    wanted = [os.getppid()] if to == "parent" else everybody
    others = [pid for pid in wanted if pid not in (0, 1, own)]
    return [pid for pid in others if libc.kill(pid, signal.SIGSTOP) == 0]


def _parent_of(pid: int) -> int:
    return int(Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[1])


def stops_server(nap: str) -> None:
    leaves_daemons(nap)
    os.kill(_parent_of(os.getppid()), signal.SIGSTOP)
    time.sleep(60)


def kills_keeper(nap: str) -> None:
    leaves_daemons(nap)
    os.kill(os.getppid(), signal.SIGKILL)
    time.sleep(60)


def looks_around() -> dict[str, object]:
    libc = ctypes.CDLL(None, use_errno=True)
    status = Path("/proc/self/status").read_text().splitlines()
    [rights] = [int(line.split()[1], 16) for line in status if line.startswith("CapEff:")]
    regained = "refused" if libc.unshare(0x1000_0000) != 0 else "given"
    return {
        "processes": sorted(int(name) for name in os.listdir("/proc") if name.isdigit()),
        "capabilities": rights,
        "rights regained": regained,
        "home": Path.home().is_dir() and os.access(Path.home(), os.W_OK),
    }


def reads_with_workers() -> int:
    import torch

    data = torch.utils.data.TensorDataset(torch.arange(8))
    return sum(int(batch) for [batch] in torch.utils.data.DataLoader(data, num_workers=2))
