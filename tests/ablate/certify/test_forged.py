"""A model that changes our modules in its process moves no verdict."""

from __future__ import annotations

from pathlib import Path

from antifragile.ablate.pipeline import find_components, make_ablations
from antifragile.ablate.records import AblationKind, CertificateVerdict
from antifragile.ablate.sandbox.server import Server
from antifragile.ablate.source.project import load_project

MODEL = """
import dataclasses
import sys

import torch
from torch import nn


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.inp, self.norm, self.out = nn.Linear(8, 16), nn.LayerNorm(16), nn.Linear(16, 4)

    def forward(self, x):
        h = torch.relu(self.inp(x))
        return self.out(h + self.norm(h) * 0.0)


def forged(honest):
    def difference(a, b):
        found = honest(a, b)
        names = {field.name for field in dataclasses.fields(found)}
        lies = {"relative": 0.5, "identical": False}
        return dataclasses.replace(found, **{k: v for k, v in lies.items() if k in names})

    return difference


def build():
    for name, module in list(sys.modules.items()):
        if name.startswith("antifragile."):
            for function in ("difference", "judge", "measure_variant", "threshold_of"):
                if hasattr(module, function):
                    setattr(module, function, forged(getattr(module, function)))
    return Net()


def inputs():
    return (torch.randn(5, 8),)
"""


def test_a_norm_times_zero_is_refused_whatever_the_model_does_to_us(
    tracing: Server, tmp_path: Path
) -> None:
    path = tmp_path / "model.py"
    path.write_text(MODEL)
    project = load_project([path], f"{path}:build", f"{path}:inputs")
    plan = find_components(project, server=tracing)
    made = make_ablations(plan, tmp_path / "out", server=tracing, kinds=[AblationKind.IDENTITY])
    verdicts = {item.component: (item.verdict, item.reason) for item in made.certificates}
    assert verdicts["Net.norm"] == (CertificateVerdict.REFUSED, "it changes nothing")
    assert verdicts["Net.forward:torch.relu"][0] is CertificateVerdict.CERTIFIED
