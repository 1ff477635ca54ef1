"""Every executed component of every test model is found; what cannot be ablated has its reason."""

from __future__ import annotations

from pathlib import Path

import pytest

from antifragile.ablate.plan.model import plan_ablations
from antifragile.ablate.records import AblationKind, Component, ComponentKind
from antifragile.ablate.sandbox.server import Server
from antifragile.errors import SpecError
from tests.ablate.discovery.expected_components import EXPECTED
from tests.ablate.model_projects import (
    model_components,
    model_project,
    model_trace,
    traced,
    written_project,
)


def component(tracing: Server, model: str, name: str) -> Component:
    [found] = [item for item in model_components(tracing, model) if item.name == name]
    return found


def line(item: Component) -> str:
    words = [item.name, item.kind.value, str(item.calls) if item.ran else "idle"]
    return " | ".join([*words, *([item.reason] if item.reason else [])])


@pytest.mark.parametrize("model", sorted(EXPECTED))
def test_the_components_of_a_model(model: str, tracing: Server) -> None:
    found = [line(item) for item in model_components(tracing, model) if not is_feature(item)]
    assert found == [text.strip() for text in EXPECTED[model].strip().splitlines()]


def is_feature(item: Component) -> bool:
    return item.kind is ComponentKind.INPUT and item.name.endswith("]")


@pytest.mark.parametrize("model", sorted(EXPECTED))
def test_names_are_unique_and_kinds_or_reasons_are_given(model: str, tracing: Server) -> None:
    components = model_components(tracing, model)
    assert len({item.name for item in components}) == len(components)
    assert all(bool(item.kinds) != bool(item.reason) for item in components)


def test_features_of_an_input_are_components(tracing: Server) -> None:
    names = [item.name for item in model_components(tracing, "two_inputs") if is_feature(item)]
    assert names == ["input:values[0]", "input:values[1]", "input:values[2]"]


def test_groups_of_features_get_their_name(tracing: Server) -> None:
    project, seen = (
        model_project("functional_residual"),
        model_trace(tracing, "functional_residual"),
    )
    plan = plan_ablations(project, seen, groups={"first half": "x[0:3]"})
    assert "input:first half" in [item.name for item in plan.components]


def test_a_span_is_the_expression_in_the_source(tracing: Server) -> None:
    item = component(tracing, "functional_residual", "Net.forward:x + torch.tanh")
    text = Path(model_project("functional_residual").root, item.span.file).read_text().splitlines()
    found = text[item.span.start_line - 1][item.span.start_column : item.span.end_column]
    assert found == "x + torch.tanh(self.inner(x))"


def test_shapes_and_parameters_are_those_of_the_run(tracing: Server) -> None:
    item = component(tracing, "shortcut_in_place", "Block.conv")
    assert item.input_shapes == ((4, 4, 8, 8),)
    assert item.output_shapes == ((4, 4, 8, 8),)
    assert item.parameters == 4 * 4 * 9 + 8 * 4 * 9
    assert item.modules == ("one.conv", "two.conv")


def test_a_module_with_two_names_is_one_component(tracing: Server) -> None:
    item = component(tracing, "two_names", "Net.second")
    assert set(item.modules) == {"second", "net.2", "again"}
    assert item.parameters == 6 * 4 + 4


def test_blocks_in_a_python_list_are_found_with_their_parameters(tracing: Server) -> None:
    item = component(tracing, "python_list", "Net.blocks[1]")
    assert (item.ran, item.parameters) == (True, 6 * 6 + 6)


def test_the_first_kind_is_one_that_can_be_made(tracing: Server) -> None:
    assert component(tracing, "tied_weights", "Net.tokens").kinds[0] is AblationKind.MEAN
    assert component(tracing, "functional_residual", "Net.first").kinds[0] is AblationKind.IDENTITY
    assert component(tracing, "training_script", "mark:decay").kinds == (AblationKind.DISABLE,)


def test_a_source_that_changed_since_it_was_traced_is_refused(
    tmp_path: Path, tracing: Server
) -> None:
    text = (Path(model_project("glu").root) / "glu.py").read_text()
    project = written_project(tmp_path, text)
    seen = traced(tracing, project)
    (tmp_path / "model.py").write_text(text + "\n")
    with pytest.raises(SpecError, match=r"model\.py changed since it was traced"):
        plan_ablations(project, seen)
