"""A component's name says which code it is: no two places share one, and no place has two."""

from __future__ import annotations

from pathlib import Path

import pytest

from antifragile.ablate.plan.model import plan_ablations
from antifragile.ablate.records import AblationKind, Component, Planned
from antifragile.ablate.sandbox.server import Server
from antifragile.ablate.source.project import load_project
from tests.ablate.adversarial.models import net
from tests.ablate.model_projects import traced, written_project

LOOPED = net(
    "self.f, self.g = nn.Linear(8, 8), nn.Linear(8, 8)",
    "x = self.g(self.f(x))\nreturn sum(m(x) for m in (self.f, self.g))",
)
IN_TWO_LISTS = net(
    "made = [nn.Linear(8, 8) for _ in range(3)]\n"
    "self.first, self.second = nn.ModuleList(made[:2]), nn.ModuleList(made[2:])",
    "for layer in [*self.first, *self.second]:\n    x = torch.tanh(layer(x))\nreturn x",
)
BLOCK = """
import torch
from torch import nn


class Block(nn.Module):
    def __init__(self):
        super().__init__()
        self.layer = nn.Linear(8, 8)

    def forward(self, x):
        return torch.{function}(self.layer(x))
"""
TWO_FILES = "import a\nimport b\n" + net(
    "self.one, self.two = a.Block(), b.Block()", "return self.one(x) + self.two(x)"
)
BY_COUNT = net(
    "self.mid, self.last, self.count = nn.Linear(8, 8), nn.Linear(8, 8), 0",
    "self.count += 1\nif self.count % 2:\n    x = torch.tanh(self.mid(x))\nelse:\n"
    "    x = torch.relu(self.mid(x))\nreturn self.last(x)",
)


def components(server: Server, folder: Path, text: str) -> dict[str, Component]:
    project = written_project(folder, text)
    found = plan_ablations(project, traced(server, project)).components
    assert len({item.name for item in found}) == len(found)
    return {item.name: item for item in found}


def test_a_call_of_several_modules_is_one_component(tmp_path: Path, tracing: Server) -> None:
    found = components(tracing, tmp_path, LOOPED)
    uses = [name for name in found if name.startswith("Net.forward:") and "sum" not in name]
    assert uses == [
        "Net.forward:self.f (use 1)",
        "Net.forward:m (f, g)",
        "Net.forward:self.g (use 1)",
    ]
    assert found["Net.forward:m (f, g)"].modules == ("f", "g")


def test_layers_in_several_lists_are_named_by_the_call_that_makes_them(
    tmp_path: Path, tracing: Server
) -> None:
    found = components(tracing, tmp_path, IN_TWO_LISTS)
    layers = {"Net.first[0]", "Net.first[1]", "Net.second[0]"}
    assert layers | {"Net.__init__:nn.Linear (all)"} <= set(found)


def test_classes_of_one_name_are_told_apart_by_their_files(tmp_path: Path, tracing: Server) -> None:
    for name, function in {"a": "tanh", "b": "relu"}.items():
        (tmp_path / f"{name}.py").write_text(BLOCK.format(function=function))
    (tmp_path / "m.py").write_text(TWO_FILES)
    project = load_project(
        [tmp_path / f"{name}.py" for name in ("m", "a", "b")], "m.py:build", "m.py:inputs"
    )
    found = plan_ablations(project, traced(tracing, project)).components
    names = {item.name for item in found}
    assert {"a: Block.layer", "b: Block.layer", "Block.forward:torch.tanh"} <= names


@pytest.mark.parametrize(
    ("name", "cut"),
    [
        ("Net.forward:self.mid (use 1)", ()),
        ("Net.forward:self.mid (use 2)", ("mid.weight", "mid.bias")),
    ],
)
def test_a_use_that_the_traced_training_did_not_make_may_take_its_gradient(
    tmp_path: Path, tracing: Server, name: str, cut: tuple[str, ...]
) -> None:
    project = written_project(tmp_path, BY_COUNT)
    plan = plan_ablations(project, traced(tracing, project))
    [found] = [item for item in plan.plans if item.component.name == name]
    outcome = found.outcomes[AblationKind.IDENTITY]
    assert isinstance(outcome, tuple)
    assert isinstance(outcome[0], Planned)
    if cut:
        assert outcome[0].cut_parameters == cut
