"""A user without a cache, a miniature image set, and real web servers to download it from."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.data.data_fakes import Answer, Mini, Server


@pytest.fixture(autouse=True)
def user_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """No test reads or writes the real cache, or sees the real environment."""
    monkeypatch.delenv("ANTIFRAGILE_DATA", raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "home"))
    return tmp_path / "home" / "antifragile"


@pytest.fixture
def mini() -> Mini:
    return Mini()


@pytest.fixture
def serve() -> Iterator[Callable[[dict[str, Answer]], Server]]:
    """Start servers; all are stopped after the test."""
    servers: list[Server] = []

    def start(answers: dict[str, Answer]) -> Server:
        servers.append(Server(answers))
        return servers[-1]

    yield start
    for server in servers:
        server.stop()
