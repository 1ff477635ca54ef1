"""One server for all tests of this folder."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from antifragile.ablate.sandbox.server import Server
from tests.ablate.model_projects import running_server


@pytest.fixture(scope="session")
def tracing() -> Iterator[Server]:
    """The server in which test models are traced and certified."""
    with running_server() as server:
        yield server
