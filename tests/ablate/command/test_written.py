"""Logs and reports of ours in a user's repository: they are none of the files that decide."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from antifragile.ablate.command.repository import LARGE, has_grown, hash_of, hashes_of
from antifragile.ablate.command.written import remember_report
from tests.ablate.study.small_study import write

LIST = """\
import sys
from pathlib import Path
from antifragile.ablate.command.repository import hashes_of
print("said", flush=True)
print(*hashes_of(Path("repo")), file=open("found.txt", "w"))
"""
ALL = ["other.log", "train.py"]


@pytest.fixture
def repo(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A repository of two files, and a cache of the user's."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    write(tmp_path / "list.py", LIST)
    write(tmp_path / "repo" / "train.py", "")
    write(tmp_path / "repo" / "other.log", "of another program")
    return tmp_path / "repo"


@pytest.mark.parametrize("to", ["> LOG", "2> LOG >&2", "| tee -a LOG", "2>&1 | tee LOG | cat"])
def test_a_file_that_takes_what_we_print_is_none_of_the_repositorys(to: str, repo: Path) -> None:
    log = repo / "ablation.log"
    shell = f"{sys.executable} list.py {to.replace('LOG', str(log))}"
    subprocess.run(["sh", "-c", shell], cwd=repo.parent, check=True, stdout=subprocess.DEVNULL)
    assert log.read_text() == "said\n"
    assert (repo.parent / "found.txt").read_text().split() == ALL
    assert list(hashes_of(repo)) == ALL  # in a later process too
    write(repo.parent / "other.txt", "said\n")
    (repo.parent / "other.txt").replace(log)
    assert list(hashes_of(repo)) == ["ablation.log", *ALL]


def test_a_report_is_known_by_its_content(repo: Path) -> None:
    report = repo / "results" / "table.csv"
    write(report, "a report")
    assert list(hashes_of(repo)) == [*ALL, "results/table.csv"]
    remember_report(report)
    assert list(hashes_of(repo)) == ALL
    write(report, "a report that was edited")
    assert list(hashes_of(repo)) == [*ALL, "results/table.csv"]


def test_an_empty_report_makes_no_empty_file_unknown(repo: Path) -> None:
    remember_report(repo / "train.py")
    assert list(hashes_of(repo)) == ALL


def test_a_log_is_told_by_its_growth(tmp_path: Path) -> None:
    log = tmp_path / "a.log"
    write(log, "one\n")
    before = hash_of(log)
    for content, is_log in (("one\ntwo", True), ("one", False), ("two\none\n", False)):
        write(log, content)
        assert has_grown(log, before) is is_log
    log.write_bytes(b"")
    empty = hash_of(log)
    write(log, "one")
    assert has_grown(log, empty)
    log.write_bytes(b"x" * 8192)  # a buffer of some program
    block = hash_of(log)
    log.write_bytes(b"x" * 9000)
    assert has_grown(log, block)
    with log.open("wb") as file:
        file.truncate(LARGE)
    large = hash_of(log)
    with log.open("ab") as file:
        file.write(b"x")
    assert has_grown(log, large)
