"""From source to certificate: what a certified variant computes is what its row says."""

from __future__ import annotations

import types
from pathlib import Path
from typing import Any

import pytest
import torch

from antifragile.ablate.certify.certificate import certify
from antifragile.ablate.generation.generate import generate
from antifragile.ablate.plan.model import plan_ablations
from antifragile.ablate.records import (
    AblationKind,
    AblationPlan,
    Certificate,
    CertificateVerdict,
    Variant,
)
from antifragile.ablate.sandbox.server import Server
from tests.ablate.adversarial.models import MODELS, Model
from tests.ablate.model_projects import traced, written_project

CERTIFIED = (CertificateVerdict.CERTIFIED, CertificateVerdict.INACTIVE_AT_INIT)
Rows = dict[tuple[str, str], tuple[Variant, Certificate]]


def rows_of(plan: AblationPlan, out: Path, server: Server, kinds: tuple[AblationKind, ...]) -> Rows:
    """All rows of a model, of some kinds, by component and kind."""
    variants = generate(plan, out, kinds)
    found = certify(plan.project, out, variants, server=server, cold_imports=0)
    pairs = zip(variants, found, strict=True)
    return {(item.component, str(item.kind)): (item, made) for item, made in pairs}


def built(folder: Path, state: dict[str, Any]) -> Any:
    """The model of a folder, made by plain Python, with given values."""
    module = types.ModuleType("model")
    exec((folder / "model.py").read_text(), module.__dict__)
    model = module.build()
    known = {key: value for key, value in state.items() if key in model.state_dict()}
    model.load_state_dict(known, strict=False)
    return model.eval()


def moved(state: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """Other floating values; variances stay positive."""
    new = {
        key: value + torch.randn_like(value) if value.is_floating_point() else value
        for key, value in state.items()
    }
    return {key: value.abs() if "running_var" in key else value for key, value in new.items()}


@torch.no_grad()
def check_by_hand(row: tuple[str, str], variant: Any, baseline: Any, x: torch.Tensor) -> None:
    """A certified variant is neither dead nor the same function as the baseline."""
    assert not torch.equal(variant(x), variant(x * 0.7 + 0.1)), row
    if row[1] != AblationKind.FREEZE:
        is_changed = not torch.equal(variant(x), baseline(x))
        assert is_changed or not torch.equal(variant.train()(x), baseline.train()(x)), row
        baseline.eval()


def removals(model: Model) -> tuple[AblationKind, ...]:
    """The kinds that take something out, and those that the model says something about."""
    named = {AblationKind(kind) for _, kind in (*model.computes, *model.refused)}
    out = {AblationKind.IDENTITY, AblationKind.REMOVE_BRANCH, AblationKind.REMOVE_SKIP}
    return tuple(kind for kind in AblationKind if kind in named | out)


@pytest.mark.parametrize("name", MODELS)
def test_the_rows_of_a_model(tmp_path: Path, tracing: Server, name: str) -> None:
    check_rows(tmp_path, tracing, MODELS[name], removals(MODELS[name]))


@pytest.mark.slow
@pytest.mark.parametrize("name", MODELS)
def test_the_rows_of_a_model_of_every_kind(tmp_path: Path, tracing: Server, name: str) -> None:
    check_rows(tmp_path, tracing, MODELS[name], tuple(AblationKind))


def check_rows(
    tmp_path: Path, tracing: Server, model: Model, kinds: tuple[AblationKind, ...]
) -> None:
    out = tmp_path / "out"
    project = written_project(tmp_path, model.text)
    plan = plan_ablations(project, traced(tracing, project))
    rows = rows_of(plan, out, tracing, kinds)
    reasons = {item.name: item.reason or "" for item in plan.components}
    for component, words in model.unlisted.items():
        assert words in reasons[component]
    for row, words in model.refused.items():
        assert rows[row][1].verdict not in CERTIFIED, row
        assert words in rows[row][1].reason
    torch.manual_seed(1)
    x = torch.randn(4, 8)
    state = moved(built(out / "baseline", {}).state_dict())
    baseline = built(out / "baseline", state)
    for row, (variant, certificate) in rows.items():
        if certificate.verdict in CERTIFIED:
            found = built(out / variant.folder, state)
            if row in model.computes:
                assert torch.allclose(found(x), model.computes[row](baseline, x), atol=1e-5), row
            check_by_hand(row, found, baseline, x)
    assert {row for row in model.computes if rows[row][1].verdict not in CERTIFIED} == set()
