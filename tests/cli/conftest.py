"""A user in an empty folder at the command line."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from antifragile.cli.main import run
from tests.cli.commands import LEFT_OUT, Said, environment

Cli = Callable[..., Said]


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder the user works in; nothing else of this machine is seen."""
    folder = tmp_path / "home"
    folder.mkdir()
    monkeypatch.chdir(folder)
    for key in LEFT_OUT:
        monkeypatch.delenv(key, raising=False)
    for key, value in environment(tmp_path / "user").items():
        monkeypatch.setenv(key, value)
    return folder


@pytest.fixture
def cli(home: Path, capsys: pytest.CaptureFixture[str]) -> Cli:
    """Run one command line in this process."""

    def call(*arguments: object) -> Said:
        capsys.readouterr()
        code = run([str(argument) for argument in arguments])
        out, err = capsys.readouterr()
        return Said(code, out, err)

    return call
