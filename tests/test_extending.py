"""The examples of docs/extending.md run, and are what the registries take."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch

from antifragile import perturb
from antifragile.ablate.designs.base import BASELINE
from antifragile.ablate.frameworks.base import Framework
from antifragile.ablate.plan.catalogue import read_templates
from antifragile.config import modes, perturbation
from antifragile.config.specs.study import StudySpec
from antifragile.data import datasets
from antifragile.optim import PRESETS, Rule
from antifragile.optim.attach import attached_rule
from antifragile.optim.attach.history import MEMORIES
from antifragile.study.executors.registry import EXECUTORS
from antifragile.study.runner import run_study

TEXT = (Path(__file__).parents[1] / "docs" / "extending.md").read_text()
SECTIONS = dict(re.findall(r"^## (.+?)\n(.*?)(?=^## |\Z)", TEXT, re.MULTILINE | re.DOTALL))


def blocks(section: str, language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", SECTIONS[section], re.DOTALL)


def example(section: str) -> SimpleNamespace:
    """Run the Python of a section and return its names."""
    [code] = blocks(section, "python")
    names: dict[str, Any] = {"__name__": "example"}
    exec(compile(code, "docs/extending.md", "exec", dont_inherit=True), names)
    return SimpleNamespace(**names)


@pytest.fixture(autouse=True)
def registries_as_before() -> Iterator[None]:
    tables: list[dict[str, Any]] = [
        modes._MODES,
        perturbation.PERTURBATIONS,
        PRESETS,
        EXECUTORS,
        datasets._SOURCES,
    ]
    before = [dict(table) for table in tables]
    yield
    for table, old in zip(tables, before, strict=True):
        table.clear()
        table.update(old)


def run_small(mode: str, *, dataset: str = "tiny", executor: str = "serial") -> int:
    spec = StudySpec.from_mapping(
        {
            "name": "small",
            "dataset": dataset,
            "architectures": ["2*4"],
            "modes": ["none", mode],
            "trials": 1,
            "meta_loops": 2,
        }
    )
    return run_study(spec, store="sqlite://", executor=executor).n_run


def test_a_mode_and_an_executor_run_a_study() -> None:
    example("A PSA mode")
    example("An executor")
    assert run_small("first_layer", executor="last_first") == 2


def test_a_preset_is_a_mode_once_the_modes_are_registered() -> None:
    example("A rule preset")
    modes._register_presets()
    assert run_small("annealed_signs") == 2


def test_a_data_set_loads_and_trains() -> None:
    datasets._SOURCES["two_classes"] = example("A data set").TWO_CLASSES
    assert run_small("output", dataset="two_classes") == 2


def test_a_noise_with_memory_follows_the_last_update(monkeypatch: pytest.MonkeyPatch) -> None:
    names = example("A noise with memory")
    memories = {**MEMORIES, "previous": names.PreviousWeights}
    monkeypatch.setattr(attached_rule, "MEMORIES", memories)
    weight = torch.nn.Parameter(torch.zeros(3))
    optimizer = torch.optim.SGD([weight], lr=1.0)
    perturb(optimizer, Rule("step", names.AlongUpdate(), 0.5))
    weight.grad = torch.ones(3)
    optimizer.step()
    assert torch.equal(weight, torch.full((3,), -1.5)), "the update, and half of it once more"


@pytest.mark.parametrize("section", ["An edit template", "A kind of ablation"])
def test_a_template_is_complete(section: str, tmp_path: Path) -> None:
    text = blocks(section, "toml")[0].replace('"negate"', '"identity"')  # the kind is not there yet
    (tmp_path / "mine.toml").write_text(text)
    [template] = read_templates(tmp_path / "mine.toml")
    assert template.before
    assert template.after


def test_a_framework_is_a_record() -> None:
    assert isinstance(example("A framework").MINI, Framework)


def test_a_figure_draws_a_survey() -> None:
    survey = SimpleNamespace(cells=pd.DataFrame({"mean": [90.0, 95.0]}))
    assert example("A figure").draw_means(survey).axes[0].lines


def test_a_design_wants_runs_and_answers_from_them() -> None:
    design = example("A design").Cumulative(components=["a", "b"], seeds=[0, 1])
    wanted = design.wanted({})
    assert {request[0] for request in wanted} == {BASELINE, frozenset("a"), frozenset("ab")}
    values = {request: 10.0 - len(request[0]) for request in wanted}
    assert np.allclose(design.contrasts(values)["value"], 1.0)


def test_the_groups_of_entry_points_are_the_ones_that_are_read() -> None:
    named = set(re.findall(r"antifragile\.(\w+)\"", SECTIONS["From a package of your own"]))
    assert named == {"modes", "presets", "datasets", "executors"}
