"""Edited manifests: what cannot be is refused by the name of its field, and nothing else fails."""

from __future__ import annotations

import json
import random
import warnings
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from antifragile.ablate.study.manifest import manifest_from
from antifragile.ablate.study.manifest_files import load_manifest
from antifragile.ablate.study.results import read_results, run_values
from antifragile.cli.main import run
from antifragile.errors import UsageError
from antifragile.report.ablation.checks import checks_table
from antifragile.report.ablation.tables import ablation_tables
from antifragile.report.table import as_markdown
from benchmarks.trust.fuzzing.mutations import mutate_data

COMMITTED = Path(__file__).resolve().parents[3] / "studies/ablation/transformer-manifest.json"


@pytest.fixture(scope="module")
def small() -> dict[str, Any]:
    """The committed manifest with its first arm alone."""
    plain: dict[str, Any] = json.loads(COMMITTED.read_text(encoding="utf-8"))
    kept = plain["arms"][0]["name"]
    plain["arms"] = plain["arms"][:1]
    plain["runs"] = [r for r in plain["runs"] if set(r["ablated"]) <= {kept}]
    plain["protocols"] = plain["protocols"][:1]
    return plain


@pytest.fixture
def plain(small: dict[str, Any]) -> dict[str, Any]:
    return json.loads(json.dumps(small))


def change(plain: dict[str, Any], place: str, value: object) -> None:
    *way, last = [int(part) if part.isdigit() else part for part in place.split("/")]
    for part in way:
        plain = plain[part]
    plain[last] = value  # type: ignore[index]  # a list where the place says a number


@pytest.mark.parametrize(
    ("place", "value", "message"),
    [
        ("runs/3/seed", "x", "runs[3].seed is 'x'; expected a whole number"),
        ("runs/3/seed", 10**400, "runs[3].seed is a whole number of 1329 bits"),
        ("runs/0/metrics", {"accuracy": 10**400}, "runs[0].metrics.'accuracy' is a whole number"),
        ("runs/0/metrics", {"accuracy": "1"}, "runs[0].metrics.'accuracy' is '1'; expected a num"),
        ("runs/0/role", "rum", "runs[0].role is 'rum'; expected one of run, "),
        ("runs/0/seconds", -1.0, "runs[0].seconds is -1.0; expected a finite number of at least 0"),
        ("runs/0/seconds", float("nan"), "runs[0].seconds is nan; expected a finite number"),
        ("runs/0/ablated", ["elsewhere"], "runs[0].ablated names 'elsewhere', which is none of ar"),
        ("judgement/alpha", 2.0, "alpha must lie in (0, 1) and the margin above 0; got 2.0"),
        ("judgement/margin", float("nan"), "alpha must lie in (0, 1) and the margin above 0; got"),
        ("judgement/power", 1.0, "judgement.power is 1.0; expected a number between 0 and 1"),
        ("judgement/looks", 0, "looks must be at least 1; got 0"),
        ("seeds", [1, 1], "seeds is empty or lists a value twice"),
        ("seeds", [], "seeds is empty or lists a value twice"),
        ("protocols", [], "protocols is empty or lists a value twice"),
        ("design", "x" * 5000, "design is 'xxxx"),
        ("environment", None, "environment is null; expected an object"),
        ("left_out", [["a", "b", "c"]], "left_out[0] is a list of 3 items; expected a list of 2"),
    ],
)
def test_a_wrong_value_is_named(
    plain: dict[str, Any], place: str, value: object, message: str
) -> None:
    change(plain, place, value)
    with pytest.raises(UsageError) as caught:
        manifest_from(plain, "note.json")
    start = "note.json is not the manifest of an ablation study: "
    assert str(caught.value).startswith(start + message)
    assert len(str(caught.value)) < 400


@pytest.mark.parametrize("value", [float("nan"), float("inf"), 1e308, -1e308, 1e200])
def test_a_diverged_run_has_no_finite_value(
    plain: dict[str, Any], value: float, tmp_path: Path
) -> None:
    name = plain["metric"]
    plain["runs"][0]["metrics"][name] = value
    path = tmp_path / "m.json"
    path.write_text(json.dumps(plain))
    before, after = (read_results(load_manifest(where)) for where in (COMMITTED, path))
    assert not plain["runs"][0]["ablated"]
    assert after.protocols[0].baseline.n == before.protocols[0].baseline.n - 1
    assert (len(before.diverged), len(after.diverged)) == (0, 1)
    sign = after.manifest.sign
    others = [run.metrics for run in before.manifest.runs[1:] if run.metrics]
    worst = min(sign * metrics[name] for metrics in others)
    key = frozenset[str](), plain["runs"][0]["seed"]
    protocol = after.manifest.protocols[0]
    assert run_values(after.manifest, protocol)[key] == float("-inf")
    assert run_values(after.manifest, protocol, replaces=True)[key] == worst
    assert (after.protocols[0].judged.table["minus_infinite"] == 1).all()
    rows = [row for row in checks_table(after).rows if row[0] == "diverged"]
    assert "baseline (retrain), 1 of " in str(rows[0][1])


def test_a_number_of_400_digits_is_a_sentence(
    plain: dict[str, Any], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    name = plain["metric"]
    path = tmp_path / "m.json"
    text = json.dumps(plain).replace(str(plain["runs"][0]["metrics"][name]), "1" + "0" * 400, 1)
    path.write_text(text)
    assert run(["ablate", "report", str(path)]) == 2
    assert f"runs[0].metrics.'{name}' is a whole number of 1329 bits" in capsys.readouterr().err


@given(st.integers(0, 10**9))
@settings(
    max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
def test_any_edit_is_read_or_refused(small: dict[str, Any], number: int) -> None:
    edited = mutate_data(small, random.Random(number))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        try:
            manifest = manifest_from(edited, "note.json")
        except UsageError:
            return
        for table in ablation_tables(read_results(manifest)):
            as_markdown(table)
