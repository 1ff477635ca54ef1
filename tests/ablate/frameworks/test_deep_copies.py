"""Models that copy a part of themselves, as targets of a moving average are made."""

from __future__ import annotations

from pathlib import Path

import pytest

from antifragile.ablate.sandbox.server import Server
from tests.ablate.model_projects import traced, written_project

MODEL = """
import copy
import torch
from torch import nn

class Encoder(nn.Module):
    def __init__(self):
        super().__init__()
        self.fc, self.bn = nn.Linear(4, 4), nn.BatchNorm1d(4)  # a buffer copies its attributes
    def forward(self, x):
        return self.bn(self.fc(x)).relu()

class Model(nn.Module):
    def __init__(self):
        super().__init__()
        self.online = Encoder()
        {in_init}
    def forward(self, x):
        return self.online(x) + self.target(x)

def build():
    model = Model()
    {in_build}
    return model

def inputs():
    return torch.randn(3, 4, generator=torch.Generator().manual_seed(0))
"""
COPY = "{0}.target = copy.deepcopy({0}.online)"


@pytest.mark.parametrize("place", ["in_init", "in_build"])
def test_a_module_that_is_copied_with_its_buffers_is_traced_with_its_copy(
    tmp_path: Path, tracing: Server, place: str
) -> None:
    lines = {"in_init": "", "in_build": ""}
    lines[place] = COPY.format("self" if place == "in_init" else "model")
    trace = traced(tracing, written_project(tmp_path, MODEL.format(**lines)))
    runs = {run.name: run for run in trace.modules}
    assert trace.remarks == ()
    for name in ("", ".fc", ".bn"):
        original, copied = runs[f"online{name}"], runs[f"target{name}"]
        assert copied.calls == original.calls == 1
        assert copied.built_at == original.built_at != ()
