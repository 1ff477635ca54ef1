"""The verbs as functions: what they take, the tables they give, a sentence for each wrong."""

from __future__ import annotations

import inspect
import json
import math
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import antifragile.ablate
from antifragile.ablate.sandbox.loading import Refusal
from antifragile.ablate.study.child.experiment import device_of
from antifragile.errors import UsageError
from tests.ablate.study.small_study import EXPERIMENT, MODEL
from tests.cli.conftest import Cli

ARM = "model-gate--identity"


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("verbs")
    (folder / "model.py").write_text(MODEL)
    (folder / "experiment.py").write_text(EXPERIMENT)
    here = Path.cwd()
    os.chdir(folder)
    try:
        antifragile.ablate.generate(
            "variants",
            source="model.py",
            build="model.py:build",
            inputs="model.py:inputs",
            kinds=["identity"],
            workers=1,
        )
    finally:
        os.chdir(here)
    return folder


def study(**changes: Any) -> dict[str, Any]:
    return {"experiment": "experiment.py:run", "seeds": 2, "only": [ARM], **changes}


def test_discover_gives_a_table_of_components(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(place)
    plan = antifragile.ablate.discover(
        source=["model.py"], build="model.py:build", inputs="model.py:inputs"
    )
    table = plan.frame().set_index("component")
    assert len(table) == sum(not item.is_left_out for item in plan.components)
    gate = table.loc["Model.gate"]
    assert (gate["kind"], gate["file"], gate["parameters"], gate["ran"]) == (
        "module",
        "model.py",
        40,
        True,
    )
    assert "identity" in gate["cut_by"]
    assert repr(plan) == f"<AblationPlan: {len(table)} components; .frame() has a row for each>"


def test_a_study_is_the_same_as_on_the_command_line(
    place: Path, cli: Cli, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(place)
    outlook = antifragile.ablate.outlook("variants", **study())
    assert outlook.frame().loc[0, "n_wanted"] == 8
    assert repr(outlook).startswith("<AblationOutlook: 8 runs, 0 of them in the store; .frame() ")
    outcome = antifragile.ablate.run("variants", **study())
    runs = outcome.frame()
    assert (outcome.n_run, len(runs)) == (8, 8)
    said = "<AblationOutcome: 'ablation', 8 runs, 0 failed; .frame() has a row for each>"
    assert repr(outcome) == said
    words = "antifragile.ablate.run('variants', experiment='experiment.py:run', seeds=2, only="
    assert outcome.manifest.command.startswith(words)
    assert set(runs["role"]) == {"run", "repeat", "placebo"}
    assert runs["accuracy"].between(0, 100).all()
    typed = ["--experiment", "experiment.py:run", "--seeds", "2", "--only", ARM]
    again = cli("ablate", "run", "variants", *typed, "--json")
    assert again.code == 0, again.err
    stored = json.loads(again.out)["runs"]
    assert sorted(run["metrics"]["loss"] for run in stored) == sorted(runs["loss"])

    results = antifragile.ablate.report("variants")
    table = results.frame()
    assert list(table["target"]) == [ARM, "placebo"]
    assert repr(results).startswith("<AblationResults: 'ablation', 1 ablations, 8 runs; .frame() ")
    base = runs[(runs["ablated"] == "") & (runs["role"] == "run")].set_index("seed")["accuracy"]
    cut = runs[runs["ablated"] == ARM].set_index("seed")["accuracy"]
    assert math.isclose(table.loc[0, "difference"], (base - cut).mean())


def test_a_text_is_one_entry(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(place)
    several = antifragile.ablate.outlook("variants", **study(kinds=["identity"]))
    assert antifragile.ablate.outlook("variants", **study(only=ARM, kinds="identity")) == several
    with pytest.raises(UsageError, match="--only 'nothing' fits none"):
        antifragile.ablate.outlook("variants", **study(only="nothing"))


@pytest.mark.parametrize(
    ("verb", "options", "sentence"),
    [
        ("discover", {"sorce": "model.py"}, "there is no option 'sorce'; did you mean 'source'?"),
        ("discover", {"command": "x", "preview_steps": 0}, "preview_steps must be at least 1"),
        ("discover", {}, "--source is missing"),
        ("run", study(seeds=0), "seeds must be at least 1; got 0."),
        ("run", study(protocol="posthoc"), "protocol is 'posthoc'; did you mean 'post-hoc'?"),
        ("run", study(workers=0), "workers must be at least 1; got 0."),
        ("run", study(metrik="loss"), "there is no option 'metrik'; did you mean 'metric'?"),
        ("run", study(only=["nothing"]), "nothing"),
        ("run", study(device="tpu"), "device 'tpu' is unknown; expected one of cpu, cuda, mps."),
        ("run", study(device="mps"), "device 'mps' is not available on this machine"),
        (
            "run",
            {"command": "python train.py", "metric": "regex:a (.*)", "device": "mps"},
            "device 'mps' is not available on this machine",
        ),
    ],
)
def test_wrong_options_are_a_sentence(
    verb: str,
    options: dict[str, Any],
    sentence: str,
    place: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(place)
    call: Callable[..., object] = getattr(antifragile.ablate, verb)
    with pytest.raises(UsageError if verb == "run" or options else Exception) as refused:
        call(*(["variants"] if verb == "run" else []), **options)
    assert sentence in str(refused.value)


def test_the_options_are_shown_as_keywords() -> None:
    shown = inspect.signature(antifragile.ablate.run).parameters
    assert list(shown)[:2] == ["folder", "listener"]
    assert shown["seeds"].default == 10
    assert "options" not in shown


def test_an_experiment_is_handed_the_device_it_asks_for() -> None:
    def plain(model: object, seed: int, data_order_seed: int) -> None: ...
    def moved(model: object, seed: int, data_order_seed: int, device: str) -> None: ...

    assert device_of(plain, "cpu") == {}
    assert device_of(moved, "cuda") == {"device": "cuda"}
    with pytest.raises(Refusal, match=r"plain\(\) takes no device; write plain\(\.\.\., device\)"):
        device_of(plain, "cuda")


def test_a_spec_of_another_command_is_refused(tmp_path: Path, cli: Cli) -> None:
    spec = tmp_path / "study.toml"
    spec.write_text('command = "python train.py --seed {seed}"\nbuild = "entry.py:build"\n')
    typed = ["--spec", str(spec), "--command", "python train.py --seed {seed} --epochs 1"]
    for verb in (["discover"], ["generate", "--out", str(tmp_path / "v")]):
        said = cli("ablate", *verb, *typed)
        assert said.code == 2
        assert "is of another command: 'python train.py --seed {seed}'" in " ".join(
            said.err.split()
        )
    assert not (tmp_path / "v").exists()
