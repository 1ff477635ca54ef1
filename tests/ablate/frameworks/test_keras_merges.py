"""Keras layers that a loop makes are cut one by one; padding counts in no mean; noise goes off."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from typing import Any

import pytest

from tests.ablate.frameworks.test_keras import CERTIFIED, MODELS, run

pytestmark = pytest.mark.slow
Rows = dict[tuple[str, str], list[dict[str, Any]]]


@pytest.fixture(scope="module")
def rows_on(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Rows]:
    known: dict[str, Rows] = {}

    def rows(backend: str) -> Rows:
        if backend not in known:
            place, found = tmp_path_factory.mktemp(backend), Rows()
            shutil.copyfile(MODELS / "merges.py", place / "merges.py")
            words = ("--source", "merges.py", "--build", "merges.py:build", "--timeout", "250")
            more = ("--inputs", "merges.py:inputs", "--out", "out", "--workers", "2", "--json")
            ended = run(place, backend, "generate", *words, *more)
            assert ended.returncode == 0, ended.stderr
            for item in json.loads(ended.stdout)["variants"]:
                if item["folder"]:
                    change = place / "out" / item["folder"] / "change.diff"
                    item["change"] = change.read_text()
                found.setdefault((item["component"], item["kind"]), []).append(item)
            known[backend] = found
        return known[backend]

    return rows


@pytest.fixture(params=("torch", "tensorflow"))
def rows(request: pytest.FixtureRequest, rows_on: Callable[[str], Rows]) -> Rows:
    return rows_on(str(request.param))


@pytest.mark.parametrize("block", ["block1", "block2"])
def test_sums_activations_and_heads_of_each_block_are_rows(rows: Rows, block: str) -> None:
    for kind, place, gone in (("remove-branch", 0, "x"), ("remove-skip", 1, "skip")):
        [row] = rows[f"{block}_add: skip + x", kind]
        assert (row["status"], row["removes"]) == ("certified", gone)
        assert f'OneOf({place}, name=layer.name), name="{block}_add")' in row["change"]
    [activation] = rows[f"{block}_dense activation", "identity"]
    assert activation["status"] in CERTIFIED
    assert f'without_activation(layer), name="{block}_dense")' in activation["change"]
    heads = rows[f"{block}_attention heads", "drop-head"]
    assert [row["options"] for row in heads] == [{"head": "0"}, {"head": "1"}]
    assert {row["status"] for row in heads} == {"certified"}


def test_a_merge_goes_by_the_name_of_its_layer(rows: Rows) -> None:
    assert ("last_add: x + left", "remove-skip") in rows
    assert ("very_last_add: x + right", "remove-skip") in rows


def test_both_factors_of_an_open_product_are_rows(rows: Rows) -> None:
    for factor in ("left", "right"):
        [row] = rows[f"both: {factor} of left * right", "identity"]
        assert row["removes"] == factor


def test_dropout_on_a_branch_is_switched_off(rows: Rows) -> None:
    for name in ("block1_drop", "block2_drop"):
        [row] = rows[name, "identity"]
        assert row["status"] == "certified"
        assert (name, "zero") not in rows


def test_a_mean_does_not_count_the_padding(rows: Rows) -> None:
    assert not [kind for name, kind in rows if name == "words" and kind == "mean"]
    [row] = rows["words", "shuffle"]
    assert row["status"] == "certified"
