"""One empty store per test, in each of the databases we support."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import count
from pathlib import Path

import pytest
from sqlalchemy import create_engine, make_url, text

from antifragile.store.store import Store
from tests.contracts.postgres import postgres_server
from tests.required_here import not_here

_numbers = count(1)


@pytest.fixture(scope="session")
def postgres() -> Iterator[str]:
    try:
        import psycopg  # noqa: F401 - only whether it is there
    except ImportError:
        not_here("psycopg is not installed")
    with postgres_server() as server:
        yield server.url


@pytest.fixture
def new_url(tmp_path: Path, request: pytest.FixtureRequest) -> Callable[[str], str]:
    """Where a store of a kind can be opened that nobody has used."""

    def make(kind: str) -> str:
        if kind == "memory":
            return "sqlite://"
        if kind == "file":
            return str(tmp_path / f"{next(_numbers)}.db")
        maintenance, name = request.getfixturevalue("postgres"), f"store{next(_numbers)}"
        url = make_url(maintenance).set(drivername="postgresql+psycopg")
        engine = create_engine(url, isolation_level="AUTOCOMMIT")
        with engine.connect() as connection:
            connection.execute(text(f"CREATE DATABASE {name}"))
        engine.dispose()
        return str(maintenance).removesuffix("postgres") + name

    return make


KINDS = ["memory", "file", pytest.param("postgres", marks=pytest.mark.postgres)]
SHARED = KINDS[1:]  # stores that several processes can open


@pytest.fixture(params=KINDS)
def store(request: pytest.FixtureRequest, new_url: Callable[[str], str]) -> Iterator[Store]:
    with Store(new_url(request.param)) as opened:
        yield opened


@pytest.fixture(params=SHARED)
def shared_url(request: pytest.FixtureRequest, new_url: Callable[[str], str]) -> str:
    return new_url(request.param)
