"""Every edit of a model is planned once; a refusal is data, with its reason."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest

from antifragile.ablate.generation.generate import generate
from antifragile.ablate.plan import model
from antifragile.ablate.records import AblationKind, Refused
from antifragile.ablate.sandbox.server import Server
from tests.ablate.model_projects import (
    model_plan,
    model_project,
    model_trace,
    traced,
    written_project,
)


def test_every_kind_has_its_outcome_and_refused_ones_come_last(tracing: Server) -> None:
    for item in model_plan(tracing, "tied_weights").plans:
        assert set(item.outcomes) == set(item.component.kinds)
        refused = [isinstance(item.outcomes[kind], Refused) for kind in item.component.kinds]
        assert refused == sorted(refused)


def test_a_refusal_is_a_record_with_its_reason(tracing: Server) -> None:
    [tokens] = [
        item
        for item in model_plan(tracing, "tied_weights").plans
        if item.component.name == "Net.tokens"
    ]
    reason = "it turns shape (4, 7) into (4, 7, 8): nothing of that shape stands in for it"
    assert tokens.outcomes[AblationKind.IDENTITY] == Refused(reason=reason)


BY_SIZE = """
import torch
from torch import nn

class Token(nn.Module):
    def __init__(self):
        super().__init__()
        self.weight = nn.Parameter(torch.randn(8))

    def forward(self, size):
        return self.weight.expand(size, 8)

class Scaled(nn.Linear):
    def forward(self, x):
        return 2.5 * super().forward(x)

class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.token, self.first, self.last = Token(), Scaled(8, 8), nn.Linear(8, 3)

    def forward(self, x):
        return self.last(self.first(x) + self.token(len(x)))

def build():
    return Net()

def inputs():
    return (torch.randn(4, 8),)
"""


def test_a_module_may_take_no_tensor_and_call_its_inherited_forward(
    tmp_path: Path, tracing: Server
) -> None:
    project = written_project(tmp_path, BY_SIZE)
    plans = {
        item.component.name: item
        for item in model.plan_ablations(project, traced(tracing, project)).plans
    }
    outcomes = plans["Net.token"].outcomes
    assert outcomes[AblationKind.IDENTITY] == Refused(reason="it takes no tensor")
    assert not isinstance(outcomes[AblationKind.ZERO], Refused)
    assert not [name for name in plans if "super" in name and "use" in name]


def test_an_edit_is_planned_once(
    tmp_path: Path, tracing: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    project, seen = model_project("gates"), model_trace(tracing, "gates")
    planned: Counter[tuple[str, AblationKind]] = Counter()
    plan_kind = model.plan_kind

    def counted(evidence, target, kind, templates):  # type: ignore[no-untyped-def]
        planned[target.component.name, kind] += 1
        return plan_kind(evidence, target, kind, templates)

    monkeypatch.setattr(model, "plan_kind", counted)
    variants = generate(model.plan_ablations(project, seen), tmp_path, tuple(AblationKind))
    assert set(planned.values()) == {1}
    assert {(variant.component, variant.kind) for variant in variants} == set(planned)
