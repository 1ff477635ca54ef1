"""Calls of modules with hooks: a hook acts at each call, so one call cannot go without it."""

from __future__ import annotations

from pathlib import Path

import pytest

from antifragile.ablate.plan.model import plan_ablations
from antifragile.ablate.records import AblationKind, Refused
from antifragile.ablate.sandbox.server import Server
from tests.ablate.model_projects import traced, written_project

MODEL = """
import torch
from torch import nn

class Hooked(nn.Linear):
    def __init__(self, *sizes):
        super().__init__(*sizes)
        {hook}

class Model(nn.Module):
    def __init__(self):
        super().__init__()
        self.lin, self.out = Hooked(6, 6), nn.Linear(6, 2)

    def forward(self, x):
        x = self.lin(x)
        x = self.lin(x)
        return self.out(x)

def build():
    return Model()

def inputs():
    return torch.randn(5, 6, generator=torch.Generator().manual_seed(0))
"""
HOOKS = [
    "self.register_forward_hook(lambda layer, args, output: output.clamp(-0.3, 0.3))",
    "self.register_forward_hook(lambda layer, args, kwargs, y: y * 2, with_kwargs=True)",
    "self.register_forward_pre_hook(lambda layer, args: args[0] * 2)",
    "self.register_forward_pre_hook(lambda l, args, kw: (args, kw), with_kwargs=True)",
    "self.register_full_backward_hook(lambda layer, into, out: None)",
]


@pytest.mark.parametrize("hook", [*HOOKS, "nn.utils.parametrizations.weight_norm(self)", "pass"])
def test_one_call_of_a_module_is_taken_out_only_where_no_hook_goes_with_it(
    tmp_path: Path, tracing: Server, hook: str
) -> None:
    project = written_project(tmp_path, MODEL.format(hook=hook))
    plan = plan_ablations(project, traced(tracing, project))
    outcomes = {made.component.name: made.outcomes for made in plan.plans}
    for use in (1, 2):
        found = outcomes[f"Model.forward:self.lin (use {use})"][AblationKind.IDENTITY]
        if hook in HOOKS:
            assert isinstance(found, Refused)
            assert found.reason == "lin has hooks, which this call runs: they would go with it"
        else:
            assert not isinstance(found, Refused)


def test_the_old_weight_norm_is_no_hook_of_the_model(tmp_path: Path, tracing: Server) -> None:
    hook = "torch.nn.utils.spectral_norm(self)"
    project = written_project(tmp_path, MODEL.format(hook=hook))
    trace = traced(tracing, project)
    assert not any(module.has_hooks for module in trace.modules)


def test_a_layer_that_is_replaced_behind_a_loop_has_no_hooks_from_it(
    tmp_path: Path, tracing: Server
) -> None:
    lines = """
        for name in ("a", "b"):
            layer = nn.Linear(6, 6)
            if name == "a":
                layer.register_forward_hook(lambda l, args, y: y.clamp(-0.3, 0.3))
            setattr(self, f"lin_{name}", layer)
"""
    built = "self.lin, self.out = Hooked(6, 6), nn.Linear(6, 2)"
    text = MODEL.replace(built, "self.out = nn.Linear(6, 2)" + lines)
    text = text.replace("x = self.lin(x)", "x = self.lin_a(x)", 1)
    text = text.replace("self.lin(x)", "self.lin_b(x)")
    project = written_project(tmp_path, text.replace("{hook}", "pass"))
    plan = plan_ablations(project, traced(tracing, project))
    outcomes = {made.component.name: made.outcomes for made in plan.plans}
    hooked = outcomes["Model.lin_a"][AblationKind.IDENTITY]
    assert isinstance(hooked, Refused)
    assert hooked.reason == (
        "lin_a has hooks, which may be there before the line that replaces it: they would go "
        "with it"
    )
    assert not isinstance(outcomes["Model.lin_b"][AblationKind.IDENTITY], Refused)
