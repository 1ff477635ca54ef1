"""A database server restarted in mid-study: short outages are waited for, long ones said."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.contracts.postgres import Server, postgres_server
from tests.contracts.test_two_drivers import is_whole, n_records, running, wait_for
from tests.study.conftest import make_spec, write_toml

pytestmark = [pytest.mark.postgres, pytest.mark.slow]


@pytest.fixture
def server() -> Iterator[Server]:
    pytest.importorskip("psycopg", reason="the extra 'postgres' is not installed")
    with postgres_server() as server:
        yield server


@pytest.mark.parametrize("workers", ["1", "2"])
def test_a_short_outage_is_waited_for(workers: str, server: Server, tmp_path: Path) -> None:
    with running(server.url, tmp_path, "--workers", workers) as driver:
        server.stop()
        time.sleep(3)
        server.start()
        code, said = driver.end()
        assert code == 0, said
        assert "cannot be used" in said
        assert "Trying again for 60 s." in said
        assert "Traceback" not in said
    assert is_whole(server.url)


IMPATIENT = """
import sys
from antifragile.cli.main import run
from antifragile.store.database import faults
faults._OUTAGE_S = 2.0
sys.exit(run(sys.argv[1:]))
"""


def test_a_long_outage_ends_with_one_sentence(server: Server, tmp_path: Path) -> None:
    write_toml(make_spec(meta_loops=120), tmp_path / "spec.toml")
    command = [sys.executable, "-c", IMPATIENT, "study", "run", "spec.toml", "--workers", "1"]
    driver = subprocess.Popen(
        [*command, "--engine", "plain", "--store", server.url, "--checkpoint-every", "0"],
        cwd=tmp_path,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    )
    wait_for(lambda: n_records(server.url) > 20)
    server.stop()
    _, said = driver.communicate(timeout=60)
    assert driver.returncode == 1
    assert "Traceback" not in said
    *others, last = said.strip().splitlines()
    assert [line.startswith("WARNING: store postgresql") for line in others].count(True) == 1
    assert last.startswith("error: store postgresql")
    assert last.endswith("run the same command again, nothing that was stored is lost.")
    server.start()
    with running(server.url, tmp_path) as again:
        assert again.end()[0] == 0
    assert is_whole(server.url)
