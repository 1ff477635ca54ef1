"""A certificate tells what holds on the weights as given from what only randomised ones show."""

from __future__ import annotations

from pathlib import Path

import pytest

from antifragile.ablate.certify.certificate import certify
from antifragile.ablate.generation.generate import generate
from antifragile.ablate.plan.model import plan_ablations
from antifragile.ablate.records import AblationKind, Certificate, CertificateVerdict
from antifragile.ablate.sandbox.server import Server
from tests.ablate.model_projects import part_of, traced, written_project

MODEL = """
import torch
from torch import nn

def drop_path(x, keep):
    mask = x.new_empty((len(x), 1)).bernoulli_(keep)
    return x * mask

class Model(nn.Module):
    def __init__(self):
        super().__init__()
        self.fc, self.out = nn.Linear(8, 8), nn.Linear(8, 3)
        self.gate = nn.Parameter({gate} * torch.ones(8))

    def forward(self, x):
        branch = self.gate * self.fc(x)
        if self.training:
            branch = drop_path(branch, 0.97)  # of 4 samples: often none is dropped
        return self.out(x + branch)

def build():
    return Model()

def inputs():
    return torch.randn(4, 8, generator=torch.Generator().manual_seed(0))
"""


def certificate_of(
    folder: Path, server: Server, gate: str, component: str, kind: AblationKind
) -> Certificate:
    """The certificate of one variant of the model, whose branch is scaled by a gate."""
    project = written_project(folder, MODEL.replace("{gate}", gate))
    plan = part_of(plan_ablations(project, traced(server, project)), [component])
    variants = generate(plan, folder / "out", (kind,))
    [found] = certify(project, folder / "out", variants, server=server, cold_imports=0)
    return found


@pytest.mark.parametrize(
    ("gate", "verdict"),
    [
        ("1e-7", CertificateVerdict.INACTIVE_AT_INIT),
        ("1.0", CertificateVerdict.CERTIFIED),
    ],
)
def test_a_random_branch_that_starts_at_zero_is_inactive_at_first(
    tmp_path: Path, tracing: Server, gate: str, verdict: CertificateVerdict
) -> None:
    found = certificate_of(tmp_path, tracing, gate, "drop_path:x * mask", AblationKind.IDENTITY)
    assert found.checks["training, randomised weights"] == "unchanged"
    assert found.checks["other draws, randomised weights"].startswith("changed by ")
    assert ("other draws, given weights" in found.checks) is (gate == "1.0")
    assert found.verdict is verdict


def test_an_output_that_stands_still_on_the_given_weights_is_named(
    tmp_path: Path, tracing: Server
) -> None:
    skip = "Model.forward:x + branch"
    still = certificate_of(tmp_path, tracing, "0.0", skip, AblationKind.REMOVE_SKIP)
    assert still.verdict is CertificateVerdict.CERTIFIED
    assert still.checks["depends on the inputs"] == (
        "on randomised weights; on those as given no longer: evaluation, training"
    )
    assert still.checks["gradients"].endswith("; on the weights as given none for out.weight")
    assert still.reason.endswith(
        "; it depends on the inputs (evaluation, training) on randomised weights alone"
    )
    moves = certificate_of(tmp_path, tracing, "1.0", skip, AblationKind.REMOVE_SKIP)
    assert moves.checks["depends on the inputs"] == "yes, tried with other inputs"
    assert moves.reason == (
        "legal, and changes the output in evaluation mode and the output in training mode"
    )
