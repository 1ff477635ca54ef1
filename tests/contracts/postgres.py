"""A real PostgreSQL server for the length of a test session, thrown away afterwards."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from tests.required_here import not_here

SERVER_USER = "postgres"  # the server refuses to run as root


@dataclass(frozen=True)
class Server:
    """A server that runs: the URL of its maintenance database; it can be stopped and started."""

    url: str
    start: Callable[[], None]
    stop: Callable[[], None]


@contextmanager
def postgres_server() -> Iterator[Server]:
    """Start one."""
    programs = sorted(Path("/usr/lib/postgresql").glob("*/bin"))
    if not programs:
        not_here("no PostgreSQL server is installed in /usr/lib/postgresql")
    user = {"user": SERVER_USER, "group": SERVER_USER} if os.geteuid() == 0 else {}
    place = Path(tempfile.mkdtemp(prefix="antifragile-postgres-"))
    if user:
        shutil.chown(place, SERVER_USER, SERVER_USER)
    port = free_port()

    def command(name: str, *arguments: str) -> None:
        with (place / "log").open("a") as log:
            subprocess.run(
                [str(programs[-1] / name), "-D", str(place / "data"), *arguments],
                cwd=place,
                check=True,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                **user,
            )

    try:
        command("initdb", "--username=tester", "--auth=trust", "--encoding=UTF8", "--no-sync")
        settings = f"-p {port} -k {place} -c listen_addresses=127.0.0.1 -c fsync=off"
        started = ("-w", "-l", str(place / "server.log"), "-o", settings, "start")
        server = Server(
            url=f"postgresql://tester@127.0.0.1:{port}/postgres",
            start=lambda: command("pg_ctl", *started),
            stop=lambda: command("pg_ctl", "-w", "-m", "immediate", "stop"),
        )
        server.start()
        try:
            yield server
        finally:
            with suppress(subprocess.CalledProcessError):  # a test has stopped it
                server.stop()
    finally:
        shutil.rmtree(place, ignore_errors=True)


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
