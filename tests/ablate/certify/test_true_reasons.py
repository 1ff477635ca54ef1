"""Reasons of refusals say what was compared, and names of parameters are taken as they are."""

from __future__ import annotations

from pathlib import Path

import pytest

from antifragile.ablate.certify.certificate import certify
from antifragile.ablate.generation.generate import generate
from antifragile.ablate.plan.model import plan_ablations
from antifragile.ablate.records import AblationKind, Certificate, CertificateVerdict
from antifragile.ablate.sandbox.server import Server
from tests.ablate.model_projects import part_of, traced, written_project

HEAD = "import torch\nfrom torch import nn\n"
TAIL = """
def build():
    return Model()

def inputs():
    return torch.randn(5, 6, generator=torch.Generator().manual_seed(0))
"""
GRADIENTS = """
class Scaled(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x):
        return x.view_as(x)
    @staticmethod
    def backward(ctx, gradient):
        return gradient * 0.1

def scaled(x):
    return Scaled.apply(x)

class Model(nn.Module):
    def __init__(self):
        super().__init__()
        self.fc, self.out = nn.Linear(6, 6), nn.Linear(6, 2)
    def forward(self, x):
        return self.out(scaled(self.fc(x)))
"""
STATE = """
class Model(nn.Module):
    def __init__(self):
        super().__init__()
        self.fc = nn.Linear(6, 6)
        self.register_buffer("mean", torch.zeros(6))
    def forward(self, x):
        y = self.fc(x)
        if self.training:
            with torch.no_grad():
                self.mean.lerp_(torch.tanh(y).mean(0), 0.1)
        return y
"""
UNCALLED = """
class Model(nn.Module):
    def __init__(self):
        super().__init__()
        self.fc = nn.Linear(6, 6)
        self.register_buffer("last", torch.zeros(2, 6))
    def forward(self, x):
        self.last = x
        return self.fc(x)

def loss_of(model, x):
    loss = model(x).abs().mean()
    loss = loss + model(x).square().mean()  # ablate: smoothness
    return loss
"""
SHARED_NORM = """
class Block(nn.Module):
    def __init__(self, norm):
        super().__init__()
        self.norm, self.fc = norm, nn.Linear(6, 6)
    def forward(self, x):
        return torch.tanh(self.fc(self.norm(x)))

class Model(nn.Module):
    def __init__(self):
        super().__init__()
        norm = nn.LayerNorm(6)
        self.first, self.second = Block(norm), Block(norm)
    def forward(self, x):
        return self.second(self.first(x))
"""
READ_TWICE = """
class Model(nn.Module):
    def __init__(self):
        super().__init__()
        self.fc, self.out = nn.Linear(6, 6), nn.Linear(6, 2)
        self.virtual = nn.Parameter(torch.ones(6))
    def forward(self, x):
        v = self.virtual
        return self.out(torch.tanh(self.fc(x + v)) + v)
"""
MASK = """
class Model(nn.Module):
    def __init__(self):
        super().__init__()
        self.mha, self.out = nn.MultiheadAttention(6, 2, batch_first=True), nn.Linear(6, 2)
    def forward(self, x, mask):
        return self.out(self.mha(x, x, x, key_padding_mask=mask)[0])

def build():
    return Model()

def inputs():
    mask = torch.zeros(2, 5)
    mask[0, 3:] = float("-inf")
    return torch.randn(2, 5, 6, generator=torch.Generator().manual_seed(0)), mask
"""


def certificate_of(
    folder: Path, server: Server, text: str, component: str, kind: AblationKind
) -> Certificate:
    """The certificate of one variant."""
    project = written_project(folder, HEAD + text + ("" if "def build" in text else TAIL))
    plan = part_of(plan_ablations(project, traced(server, project)), [component])
    variants = generate(plan, folder / "out", (kind,))
    [found] = certify(project, folder / "out", variants, server=server, cold_imports=0)
    return found


@pytest.mark.parametrize(
    ("text", "site", "reason"),
    [
        (GRADIENTS, "Model.forward:scaled", "but gradients (fc.bias, fc.weight)"),
        (STATE, "Model.forward:torch.tanh", "in one call; what later calls read is not compared"),
    ],
    ids=["gradients alone", "what later calls read"],
)
def test_what_else_may_have_changed_is_said(
    tmp_path: Path, tracing: Server, text: str, site: str, reason: str
) -> None:
    found = certificate_of(tmp_path, tracing, text, site, AblationKind.IDENTITY)
    assert found.verdict is CertificateVerdict.REFUSED
    assert found.reason == f"it changes nothing {reason}"


@pytest.mark.parametrize("text", [UNCALLED, UNCALLED.replace("self.last = x", "pass")])
def test_marked_lines_that_did_not_run_are_said_to_have_not(
    tmp_path: Path, tracing: Server, text: str
) -> None:
    found = certificate_of(tmp_path, tracing, text, "mark:smoothness", AblationKind.DISABLE)
    assert found.verdict is CertificateVerdict.REFUSED
    assert found.reason == (
        "it changes nothing: the marked lines did not run in a call of the model; marks in the "
        "loss need --step"
    )


def test_a_shared_parameter_that_loses_one_of_its_names_has_not_vanished(
    tmp_path: Path, tracing: Server
) -> None:
    kind = AblationKind.IDENTITY
    found = certificate_of(tmp_path, tracing, SHARED_NORM, "Model.first", kind)
    assert found.verdict is CertificateVerdict.CERTIFIED


def test_a_parameter_that_is_read_once_and_used_twice_is_the_components_own(
    tmp_path: Path, tracing: Server
) -> None:
    kind = AblationKind.ZERO
    found = certificate_of(tmp_path, tracing, READ_TWICE, "Model.virtual", kind)
    assert found.verdict is CertificateVerdict.CERTIFIED
    assert found.checks["gradients"] == "none for virtual"


def test_a_mask_of_real_numbers_that_is_an_input_is_taken_away(
    tmp_path: Path, tracing: Server
) -> None:
    site, kind = "Model.forward:self.mha key_padding_mask", AblationKind.IDENTITY
    found = certificate_of(tmp_path, tracing, MASK, site, kind)
    assert found.verdict is CertificateVerdict.CERTIFIED
