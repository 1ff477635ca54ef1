"""One server for the tests of each file here."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from antifragile.ablate.sandbox.limits.mechanisms import NONE
from antifragile.ablate.sandbox.server import Server


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    """A server whose children may make namespaces."""
    with Server(workers=2, mechanisms=NONE, preload=()) as found:
        yield found
