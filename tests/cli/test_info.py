"""``antifragile info``: facts that somebody who asks for help can paste."""

from __future__ import annotations

import json
import platform
from dataclasses import replace

import pytest

from antifragile import _optional
from antifragile._optional import optional_extras
from antifragile.ablate.sandbox.limits import probe
from antifragile.ablate.sandbox.limits.mechanisms import NONE
from antifragile.cli.machine import info as info_module
from antifragile.config.modes import mode_names
from antifragile.config.modifiers.table import MODIFIERS
from tests.cli.conftest import Cli

LIMITS = [
    *("end of all processes", "memory of the group", "writes to its own folders"),
    *("no network but loopback", "other processes untouched", "size and number of files"),
]


def test_it_says_versions_extras_and_limits_in_80_columns(cli: Cli) -> None:
    said = cli("info")
    assert said.code == 0
    lines = said.out.splitlines()
    assert max(len(line.rstrip()) for line in lines) <= 80
    assert f"python        {platform.python_version()}" in [line.rstrip() for line in lines]
    for name in (*LIMITS, "parquet", "postgres", "keras"):
        assert any(line.startswith(name) for line in lines)


def test_it_speaks_json_too(cli: Cli) -> None:
    said = json.loads(cli("info", "--json").out)
    assert [limit["name"] for limit in said["limits"]] == LIMITS
    assert said["limits"] == [
        {"name": row.name, "strength": row.strength, "mechanism": row.mechanism}
        for row in probe.held_limits(probe.find_mechanisms())
    ]
    assert {extra["name"] for extra in said["extras"]} >= {"parquet", "postgres", "keras"}


def test_what_holds_is_tried_and_not_guessed(cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    found = replace(NONE, adoption=True)
    monkeypatch.setattr(info_module, "find_mechanisms", lambda: found)
    strengths = [limit["strength"] for limit in json.loads(cli("info", "--json").out)["limits"]]
    assert strengths == ["weaker", "weaker", "weaker", "none", "none", "full"]


def test_a_missing_extra_comes_with_the_line_that_installs_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    lines = ["torch>=2", 'psycopg[binary]>=3; extra == "postgres"', 'x-y; extra == "keras"']
    lines += ["pytest>=8; extra == 'test'"]
    installed = {"psycopg": "3", "x": "1"}

    def version(name: str) -> str:
        if name not in installed:
            raise _optional.PackageNotFoundError(name)
        return installed[name]

    monkeypatch.setattr(_optional, "requires", lambda _: lines)
    monkeypatch.setattr(_optional, "version", version)
    assert [(item.name, item.missing) for item in optional_extras()] == [
        ("postgres", ()),
        ("keras", ()),  # x is the larger one of x-y
    ]
    del installed["x"]
    keras = optional_extras()[1]
    assert (keras.missing, keras.command) == (("x-y",), "pip install 'antifragile[keras]'")


def test_modes_and_modifiers_are_listed(cli: Cli) -> None:
    said = cli("info", "--modes").out
    assert "patience=N or NxG" in said
    assert "BASE+MODIFIER" in said
    listed = json.loads(cli("info", "--modes", "--json").out)
    assert [item["name"] for item in listed["modes"]] == list(mode_names())
    assert {item["name"]: item["trainer"] for item in listed["modes"]}["sam"] == "readable engine"
    assert [item["name"] for item in listed["modifiers"]] == list(MODIFIERS)
