"""A layer that hands on several tensors is bypassed in all of them."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from antifragile.ablate.records import AblationKind, Planned
from antifragile.ablate.sandbox.server import Server
from tests.ablate.test_aliases import built, outcome, planned, variant_of

GRAPH = """
import torch
from torch import nn


class Layer(nn.Module):
    def __init__(self):
        super().__init__()
        self.features, self.moves = nn.Linear(8, 8), nn.Linear(8, 3)

    def forward(self, nodes, places):
        seen = torch.tanh(self.features(nodes))
        return nodes + seen, places + self.moves(seen), {third}


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.first, self.second = Layer(), Layer()
        self.last = nn.Linear(11, 2)

    def forward(self, x, places):
        x, places, _ = self.first(x, places)
        x, places, _ = self.second(x, places)
        {more}
        return self.last(torch.cat([x, places], 1))


def build():
    return Net()


def inputs():
    torch.manual_seed(0)
    return torch.randn(4, 8), torch.randn(4, 3)
"""


@pytest.mark.parametrize("third", ["seen.sum()", "None", "(seen, places)"])
def test_all_streams_are_handed_on(tmp_path: Path, tracing: Server, third: str) -> None:
    text = GRAPH.replace("{third}", third).replace("{more}", "pass")
    row = outcome(planned(tmp_path, tracing, text), "Net.second", AblationKind.IDENTITY)
    assert isinstance(row, Planned)
    assert row.substitute == "the first 2 inputs in place of the first 2 results"
    assert set(row.cut_parameters) == {
        f"second.{name}.{part}" for name in ("features", "moves") for part in ("weight", "bias")
    }
    found, (x, places) = built(variant_of(text, row)), built_inputs(text)
    nodes, moved, _ = found.first(x, places)
    right = found.last(torch.cat([nodes, moved], 1))
    torch.testing.assert_close(found(x, places), right)


def test_one_call_of_several_hands_all_streams_on(tmp_path: Path, tracing: Server) -> None:
    text = GRAPH.replace("{third}", "None").replace(
        "{more}", "x, places, _ = self.second(x, places)"
    )
    plan = planned(tmp_path, tracing, text)
    [name] = [item.component.name for item in plan.plans if "(use 2)" in item.component.name]
    row = outcome(plan, name, AblationKind.IDENTITY)
    assert isinstance(row, Planned)
    found, (x, places) = built(variant_of(text, row)), built_inputs(text)
    nodes, moved, _ = found.second(*found.first(x, places)[:2])
    torch.testing.assert_close(found(x, places), found.last(torch.cat([nodes, moved], 1)))
    assert row.cut_parameters == ()


def built_inputs(text: str) -> tuple[torch.Tensor, torch.Tensor]:
    """The inputs of a model's text."""
    names: dict[str, object] = {}
    exec(text, names)
    return names["inputs"]()  # type: ignore[operator, no-any-return]
