"""Where outputs go: a store is never replaced, links are followed, pipes and devices stay."""

from __future__ import annotations

import os
import stat
import threading
from pathlib import Path

import pytest

from tests.cli.commands import write_spec
from tests.cli.conftest import Cli

EXPORT = ("study", "export", "--store", "runs.db")


@pytest.fixture
def stored(home: Path, cli: Cli) -> Path:
    write_spec(home / "s.toml")
    assert cli("study", "run", "s.toml", "--store", "runs.db").code == 0
    return home


@pytest.mark.parametrize("name", ["runs.db", "./runs.db", "other.db", "link.db"])
@pytest.mark.parametrize("format_", ["csv", "json"])
def test_an_export_never_replaces_a_store(stored: Path, cli: Cli, name: str, format_: str) -> None:
    (stored / "other.db").write_bytes((stored / "runs.db").read_bytes())
    (stored / "link.db").symlink_to("other.db")
    before = (stored / name).read_bytes()
    done = cli(*EXPORT, "--format", format_, "--out", name)
    assert done.code == 2
    assert "is a database, perhaps a store; choose another file" in done.err
    assert (stored / name).read_bytes() == before


def test_a_link_is_followed(stored: Path, cli: Cli) -> None:
    (stored / "disk").mkdir()
    (stored / "out.csv").symlink_to("disk/out.csv")
    for _ in range(2):  # new, and there
        assert cli(*EXPORT, "--out", "out.csv").code == 0
        assert (stored / "out.csv").is_symlink()
        assert (stored / "disk" / "out.csv").read_text() == cli(*EXPORT).out


def test_a_pipe_gets_what_is_written(stored: Path, cli: Cli) -> None:
    os.mkfifo(stored / "pipe")
    got: list[str] = []
    reader = threading.Thread(target=lambda: got.append((stored / "pipe").read_text()))
    reader.start()
    assert cli(*EXPORT, "--out", "pipe").code == 0
    reader.join(10)
    assert got == [cli(*EXPORT).out]
    assert stat.S_ISFIFO((stored / "pipe").stat().st_mode)


def test_a_device_stays_and_a_full_one_is_said(stored: Path, cli: Cli) -> None:
    try:
        for name, number in (("null", 3), ("full", 7)):
            os.mknod(stored / name, stat.S_IFCHR | 0o666, os.makedev(1, number))
        (stored / "null").write_bytes(b"")
    except OSError:
        pytest.skip("devices cannot be made here")
    assert cli(*EXPORT, "--out", "null").code == 0
    full = cli(*EXPORT, "--out", "full")
    assert (full.code, "cannot write full: No space left" in full.err) == (1, True)
    assert all(stat.S_ISCHR((stored / name).stat().st_mode) for name in ("null", "full"))
    store = cli("study", "run", "s.toml", "--store", "null")
    assert (store.code, "is a device or a pipe" in store.err) == (2, True)
