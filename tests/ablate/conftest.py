"""One server for all tests of this folder."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from antifragile.ablate.certify.certificate import open_server
from antifragile.ablate.sandbox.job import Limits
from antifragile.ablate.sandbox.server import Server


@pytest.fixture(scope="session")
def tracing() -> Iterator[Server]:
    """The server in which test models are traced and certified."""
    with open_server(workers=2, limits=Limits(timeout_s=60)) as server:
        yield server
