"""Whether a module is an identity is measured; its name says nothing."""

from __future__ import annotations

import pytest

from antifragile.ablate.sandbox.server import Server
from tests.ablate.model_projects import model_components


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("Net.squash", None),
        ("Net.flat", None),
        ("Net.twice", None),
        ("Net.dropout", None),
        ("Net.optional", "already an identity: nothing to take away"),
        ("Net.nothing", "already an identity: nothing to take away"),
        ("Net.empty", "an empty nn.Sequential: nothing to take away"),
    ],
)
def test_an_identity_is_known_by_what_it_returns(
    tracing: Server, name: str, reason: str | None
) -> None:
    found = {item.name: item for item in model_components(tracing, "own_identity")}
    assert found[name].reason == reason
    assert bool(found[name].kinds) == (reason is None)
