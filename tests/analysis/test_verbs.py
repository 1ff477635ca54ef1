"""The verbs of analysis over a CSV: what they print, as text and as JSON."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import typer
from typer.testing import CliRunner

from antifragile.analysis.regimes.classification import modes_left_out
from antifragile.analysis.source import open_source
from antifragile.cli.lazy import with_flags
from antifragile.cli.results.classify import classify
from antifragile.cli.results.compare_modes import compare_modes
from antifragile.cli.results.report import compare
from antifragile.cli.results.size import size
from antifragile.cli.results.table import table
from antifragile.errors import UsageError
from tests.analysis.trial_frames import MODES, made_trials


def call(verb: Callable[..., None], *arguments: str) -> str:
    app = typer.Typer()
    app.command()(with_flags(verb))
    result = CliRunner().invoke(app, list(arguments))
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    assert result.exit_code == 0, result.output
    return result.stdout


def call_json(verb: Callable[..., None], *arguments: str) -> Any:
    return json.loads(call(verb, *arguments, "--json"))


@pytest.fixture
def csv(tmp_path: Path) -> str:
    values = {("1*64", m): [98.0, 98.1, 98.2] for m in MODES}
    values |= {("1*2", m): [11.02, 60.0, 45.0] for m in MODES[:3]}
    values |= {("1*2", m): [11.02, 30.0, 25.0] for m in MODES[3:]}
    values |= {("99*2", m): [11.02, 10.1, 11.02] for m in MODES}
    path = tmp_path / "made.csv"
    made_trials(values).to_csv(path, index=False)
    return str(path)


@pytest.mark.parametrize("rules", ["paper", "complete", "posterior"])
def test_classify_as_json(csv: str, rules: str) -> None:
    found = call_json(classify, csv, "--zero-r", "11.02", "--rules", rules, "--draws", "200")
    assert list(found) == ["1*64", "1*2", "99*2"]
    keys = {"regime", "probability", "probabilities", "reason", "overrules"}
    assert all(set(verdict) == keys for verdict in found.values())
    if rules == "posterior":
        assert sum(found["1*64"]["probabilities"].values()) == pytest.approx(1)
    else:
        assert found["99*2"]["regime"] == "architectural-failure"
        assert found["99*2"]["probability"] is None


def test_classify_lists_what_it_overrules(csv: str) -> None:
    text = call(classify, csv, "--zero-r", "11.02")
    assert "printed labels overruled:\n  1*2: optimally-sized; baselines learn in some" in text
    assert "1 beneficial-regularization, 1 chaotic-optimization, 1 architectural-failure" in text


def test_classify_of_a_csv_needs_zero_r(csv: str) -> None:
    with pytest.raises(UsageError, match=r"--zero-r 11\.02"):
        call(classify, csv)


def test_a_network_of_any_depth_is_judged_without_memory_for_its_layers(tmp_path: Path) -> None:
    names = ("1*64", "999999999999*4", "[999999999*4, 1*999999999999]")
    path = tmp_path / "deep.csv"
    made_trials({(name, m): [98.0, 98.1] for name in names for m in MODES}).to_csv(path)
    options = ("--zero-r", "11.02", "--rules", "posterior", "--draws", "100")
    assert list(call_json(classify, str(path), *options)) == list(names)
    text = call(table, "IV", str(path), "--zero-r", "11.02", "--format", "csv")
    assert f"999999999999*4,{784 * 4 + 4 + 999999999998 * 20 + 50}," in text


@pytest.mark.parametrize(
    ("verb", "words", "bound"),
    [
        (classify, "--zero-r 11.02 --rules posterior --draws 1000001", "1000000"),
        (compare, "x.csv --out x --zero-r 500", "100"),
        (compare, "x.csv --out x --zero-r nan", "100"),
    ],
)
def test_a_number_beyond_its_bound_is_refused(
    csv: str, verb: Callable[..., None], words: str, bound: str
) -> None:
    app = typer.Typer()
    app.command()(with_flags(verb))
    said = CliRunner().invoke(app, [csv, *words.split()])
    assert said.exit_code == 2
    assert f"less than or equal to {bound}" in " ".join(said.output.replace("│", " ").split())


def test_compare_modes_says_what_three_trials_cannot_show(csv: str) -> None:
    text = call(compare_modes, csv)
    assert "made: peak accuracy against none, independent trials" in text
    assert "smallest attainable p 0.1 exceeds the first threshold 0.0033" in text
    assert "6 trials per mode would be needed" in text
    found = call_json(compare_modes, csv, "--family", "mode")
    assert len(found["comparisons"]) == 15
    assert [family["n_tests"] for family in found["families"]] == [3] * 5
    assert found["comparisons"][-1]["size"] is not None or found["comparisons"][-1]["p"] == 1


def test_size_over_made_networks(tmp_path: Path) -> None:
    values = {}
    for name, harm in (("1*512", 0.1), ("1*128", 0.4), ("1*32", 1.6), ("1*8", 6.4), ("2*32", 1.5)):
        for mode in MODES:
            level = 95.0 if mode in MODES[:3] else 95.0 - harm
            values[(name, mode)] = [level - 0.001, level + 0.001]
    path = tmp_path / "sizes.csv"
    made_trials(values).to_csv(path, index=False)
    found = call_json(size, str(path), "--zero-r", "11.02")
    assert found["rows"] == 4
    assert [error["family"] for error in found["errors"]] == ["2*W"]
    text = call(size, str(path), "--zero-r", "11.02")
    assert "1*8" in text
    assert "under-sized (fitted)" in text
    assert "error on 1 of 2*W" in text


def test_classify_goes_by_the_papers_modes_and_says_what_it_left_out(
    csv: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    frame = pd.read_csv(csv)
    noisy = frame[frame["mode"] == "none"].assign(mode="annealed_gradient_noise")
    noisy["peak_validation_accuracy"] = 99.0
    more = tmp_path / "more.csv"
    pd.concat([frame, noisy]).to_csv(more, index=False)
    for rules in ("paper", "complete", "posterior"):
        options = ("--zero-r", "11.02", "--rules", rules, "--draws", "200")
        assert call_json(classify, str(more), *options) == call_json(classify, csv, *options)
    assert modes_left_out(open_source(csv, zero_r=11.02)) == ()
    assert modes_left_out(open_source(str(more), zero_r=11.02)) == ("annealed_gradient_noise",)


def test_compare_modes_includes_perturbed_modes(csv: str, tmp_path: Path) -> None:
    frame = pd.read_csv(csv)
    noisy = frame[frame["mode"] == "none"].assign(mode="annealed_gradient_noise")
    more = tmp_path / "more.csv"
    pd.concat([frame, noisy]).to_csv(more, index=False)
    rows = call_json(compare_modes, str(more))["comparisons"]
    assert {row["architecture"] for row in rows if row["mode"] == "annealed_gradient_noise"} == {
        "1*64",
        "1*2",
        "99*2",
    }
