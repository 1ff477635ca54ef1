"""``antifragile bench``: measured beside predicted seconds."""

from __future__ import annotations

import json

import torch

from tests.cli.conftest import Cli


def test_measured_and_predicted_seconds_stand_side_by_side(cli: Cli) -> None:
    before = torch.get_num_threads()
    said = cli("bench", "--dataset", "tiny", "--arch", "1*4", "--arch", "2*2")
    assert said.code == 0
    assert "measured  predicted  ratio" in said.out
    assert "matrix peak" in said.out
    assert [line.split(":")[0] for line in said.err.splitlines()] == ["1*4", "2*2"]
    assert torch.get_num_threads() == before


def test_json_has_every_rate(cli: Cli) -> None:
    document = json.loads(cli("bench", "--dataset", "tiny", "--arch", "1*4", "--json").out)
    keys = {"threads", "precision", "network", "peak_gflops", "ratio", "rows"}
    assert set(document) == keys
    (row,) = document["rows"]
    assert row["architecture"] == "1*4"
    assert row["ratio"] == row["seconds"] / row["predicted_seconds"] > 0
