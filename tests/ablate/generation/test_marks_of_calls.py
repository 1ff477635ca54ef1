"""A mark behind a statement that calls modules takes what only that statement used."""

from __future__ import annotations

from pathlib import Path

from antifragile.ablate.pipeline import find_components, make_ablations
from antifragile.ablate.records import CertificateVerdict
from antifragile.ablate.sandbox.server import Server
from antifragile.ablate.source.project import load_project

MODEL = """
import torch
from torch import nn


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.inp, self.gate, self.out = nn.Linear(8, 16), nn.Linear(16, 16), nn.Linear(16, 4)

    def forward(self, x):
        h = torch.relu(self.inp(x))
        h = h * torch.sigmoid(self.gate(h))  # ablate: gate
        return self.out(h)  # ablate: head


def build():
    return Net()


def inputs():
    return (torch.randn(5, 8),)
"""


def test_its_parameters_are_the_marks_own(tracing: Server, tmp_path: Path) -> None:
    path = tmp_path / "model.py"
    path.write_text(MODEL)
    project = load_project([path], f"{path}:build", f"{path}:inputs")
    made = make_ablations(
        find_components(project, server=tracing), tmp_path / "variants", server=tracing
    )
    found = {certificate.component: certificate for certificate in made.certificates}
    n, n_certified = len(made.variants), len(made.frame().query("status == 'certified'"))
    holds = f"{n} variants, {n_certified} certified"
    assert repr(made) == f"<Ablations: {holds}; .frame() has a row for each>"
    gate, head = found["mark:gate"], found["mark:head"]
    assert gate.verdict is CertificateVerdict.CERTIFIED
    assert gate.without_gradient == ("gate.bias", "gate.weight")
    assert gate.reason.endswith("; with it goes the gradient of gate.bias, gate.weight")
    assert head.verdict is CertificateVerdict.REFUSED
    assert head.reason.startswith("the mark stands at a return: ")
