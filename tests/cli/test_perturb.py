"""``antifragile perturb list``: the presets by name."""

from __future__ import annotations

import json

from antifragile.optim import PRESETS
from tests.cli.conftest import Cli


def test_the_list_names_every_preset(cli: Cli) -> None:
    said = cli("perturb", "list")
    assert said.code == 0
    for name in PRESETS:
        assert name in said.out
    listed = json.loads(cli("perturb", "list", "--json").out)
    assert set(listed["presets"]) == set(PRESETS)
    assert all(listed["presets"].values())


def test_the_experiments_are_no_verb(cli: Cli) -> None:
    said = cli("perturb", "bench", "octopus")
    assert said.code == 2
    assert said.is_one_error()
    assert "no such command 'bench'" in said.err
