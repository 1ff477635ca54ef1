"""Initialisations that are repeated where the tracer sees nothing: taking one away does nothing."""

from __future__ import annotations

from pathlib import Path

import pytest

from antifragile.ablate.certify.certificate import certify
from antifragile.ablate.generation.generate import generate
from antifragile.ablate.plan.model import plan_ablations
from antifragile.ablate.records import AblationKind, Certificate, CertificateVerdict
from antifragile.ablate.sandbox.server import Server
from tests.ablate.model_projects import traced, written_project

MODEL = """
import torch
from torch import nn
import library

class Model(nn.Module):
    def __init__(self):
        super().__init__()
        self.fc, self.out = nn.Linear(8, 8), nn.Linear(8, 3)
        nn.init.normal_(self.fc.weight, std=0.02)
        nn.init.normal_(self.out.weight, std=0.02)
        self.gate = nn.Parameter(torch.zeros(()))

    def forward(self, x):
        return self.out(x) + self.gate * self.out(self.fc(x))

def build():
    return library.{outer}

def inputs():
    return torch.randn(5, 8, generator=torch.Generator().manual_seed(0))
"""
LIBRARY = """
from torch import nn

def as_it_is(model):
    return model

def initialised(model):
    nn.init.normal_(model.fc.weight, std=0.02)
    return model

def otherwise(model):
    nn.init.normal_(model.fc.weight, std=0.03)
    return model
"""


def initialisations(folder: Path, server: Server, outer: str) -> dict[str, Certificate]:
    """The certificates of both initialisations, with another call around the construction."""
    text = MODEL.replace("{outer}", f"{outer}(Model())")
    project = written_project(folder, text, library=LIBRARY)
    plan = plan_ablations(project, traced(server, project))
    variants = generate(plan, folder / "out", (AblationKind.DISABLE,))
    found = certify(project, folder / "out", variants, server=server, cold_imports=0)
    return {certificate.component: certificate for certificate in found}


@pytest.mark.parametrize("outer", ["initialised", "otherwise"])
def test_an_initialisation_that_is_repeated_outside_changes_nothing(
    tmp_path: Path, tracing: Server, outer: str
) -> None:
    repeated, only = initialisations(tmp_path, tracing, outer).values()
    assert repeated.verdict is CertificateVerdict.REFUSED
    assert repeated.reason == (
        "it changes nothing: the initial values of fc.weight are the same without it"
    )
    assert only.verdict is CertificateVerdict.CERTIFIED
    assert only.checks["initial values"] == "out.weight keep the variant's own"


def test_an_initialisation_that_nothing_repeats_changes_the_model(
    tmp_path: Path, tracing: Server
) -> None:
    gated, plain = initialisations(tmp_path, tracing, "as_it_is").values()
    assert gated.verdict is plain.verdict is CertificateVerdict.CERTIFIED
    assert gated.checks["evaluation, given weights"] == "unchanged"  # behind a gate that is closed
    assert gated.checks["initial values"] == "fc.weight keep the variant's own"
