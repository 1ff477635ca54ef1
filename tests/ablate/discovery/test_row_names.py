"""A row says what its edit does: how many layers it means, which of several inputs stays."""

from __future__ import annotations

from pathlib import Path

import pytest

from antifragile.ablate.discovery.construction.names import fits_word
from antifragile.ablate.plan.model import plan_ablations
from antifragile.ablate.records import AblationKind, AblationPlan, Planned
from antifragile.ablate.sandbox.server import Server
from tests.ablate.adversarial.models import net
from tests.ablate.model_projects import traced, written_project

TWO_SORTS = net(
    "self.layers = nn.ModuleList()\n"
    "for place in range(4):\n"
    "    self.layers.append(nn.Tanh() if place % 2 else nn.Linear(8, 8))",
    "for layer in self.layers:\n    x = layer(x)\nreturn x",
)
DEFAULT_ARGUMENT = """
import torch
from torch import nn


class Part(nn.Module):
    def __init__(self, act=nn.SiLU()):
        super().__init__()
        self.linear, self.act = nn.Linear(8, 8), act

    def forward(self, x):
        return self.act(self.linear(x))


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.one, self.two = Part(), Part()

    def forward(self, x):
        return self.two(self.one(x))


def build():
    return Net()


def inputs():
    return (torch.randn(4, 8),)
"""
MIXED = """
import torch
from torch import nn


class Mixer(nn.Module):
    def __init__(self):
        super().__init__()
        self.linear = nn.Linear(8, 8)

    def forward(self, queries, values):
        return self.linear(queries * torch.tanh(values))


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.q, self.v, self.mixer = nn.Linear(8, 8), nn.Linear(8, 8), Mixer()
        self.out = nn.Linear(8, 8)

    def forward(self, x):
        y = blended(self.q(x), self.v(x))
        return self.out({call})


def blended(a, b):
    return a * b + a


def build():
    return Net()


def inputs():
    return (torch.randn(4, 8),)
"""
PLACE = "self.mixer(self.q(x), y) + y"


def planned(server: Server, folder: Path, text: str) -> AblationPlan:
    project = written_project(folder, text)
    return plan_ablations(project, traced(server, project))


def substitute(plan: AblationPlan, name: str) -> str | None:
    """What the identity of a component says of what stands there now."""
    [item] = [one for one in plan.plans if one.component.name == name]
    outcome = item.outcomes[AblationKind.IDENTITY]
    assert isinstance(outcome, tuple)
    [made] = outcome
    assert isinstance(made, Planned)
    return made.substitute


def test_all_is_said_of_all_layers_alone(tmp_path: Path, tracing: Server) -> None:
    found = {item.name for item in planned(tracing, tmp_path, TWO_SORTS).components}
    assert {"Net.layers[0, 2] (2 of 4)", "Net.layers[1, 3] (2 of 4)", "Net.layers[2]"} <= found
    assert not any("(all)" in name for name in found)


def test_a_module_that_two_layers_share_has_both_names(tmp_path: Path, tracing: Server) -> None:
    found = {item.name for item in planned(tracing, tmp_path, DEFAULT_ARGUMENT).components}
    assert "one.act and two.act" in found
    assert "one.act" not in found


@pytest.mark.parametrize(
    ("call", "component", "expected"),
    [
        (PLACE, "Net.mixer", "passes on `queries`"),
        ("self.mixer(values=y, queries=self.q(x))", "Net.mixer", "passes on `values`"),
        ("self.mixer(y, y)", "Net.mixer", None),
        (PLACE, "Net.out", None),
        (PLACE, "Net.forward:blended", "passes on `self.q`"),
    ],
)
def test_of_several_inputs_the_row_says_which_is_passed_on(
    tmp_path: Path, tracing: Server, call: str, component: str, expected: str | None
) -> None:
    plan = planned(tracing, tmp_path, MIXED.replace("{call}", call))
    assert substitute(plan, component) == expected


GIVEN = """
import torch
from torch import nn


class Block(nn.Module):
    def __init__(self, fc=None):
        super().__init__()
        if fc is not None:
            self.fc = fc
        else:
            self.fc = nn.Linear(8, 8)

    def forward(self, x):
        return torch.tanh(self.fc(x))


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        shared = nn.Linear(8, 8)
        self.one, self.two, self.three = Block(shared), Block(), Block()

    def forward(self, x):
        return self.three(self.two(self.one(x)))


def build():
    return Net()


def inputs():
    return (torch.randn(4, 8),)
"""


def test_layers_that_another_place_made_are_not_counted(tmp_path: Path, tracing: Server) -> None:
    found = {item.name: item for item in planned(tracing, tmp_path, GIVEN).components}
    assert set(found["Block.fc (2 of 3)"].modules) == {"two.fc", "three.fc"}
    assert "Block.fc" not in found


@pytest.mark.parametrize(
    ("part", "word", "fits"),
    [
        ("0", "*", True),
        ("0['norm']", "*['norm']", True),
        ("0", "*['norm']", False),
        ("0['mlp']", "*['norm']", False),
        ("layer2", "layer*", True),
        ("head", "layer*", False),
        ("norm", "norm", True),
    ],
)
def test_a_part_of_a_path_fits_a_word(part: str, word: str, fits: bool) -> None:
    assert fits_word(part, word) is fits
