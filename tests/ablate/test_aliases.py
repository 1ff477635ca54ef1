"""Edits where tensors share memory or objects share state: a variant differs by its cut alone."""

from __future__ import annotations

import types
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import torch

from antifragile.ablate.plan.model import plan_ablations
from antifragile.ablate.records import AblationKind, AblationPlan, Planned, Refused
from antifragile.ablate.sandbox.server import Server
from antifragile.ablate.source.edits import apply_edits
from tests.ablate.model_projects import traced, written_project

_TEXT = """
import torch
import torch.nn.functional as F
from torch import nn
{top}

class Model(nn.Module):
    def __init__(self):
        super().__init__()
        self.first = nn.Linear(8, 8)
        self.last = nn.Linear(8, 8)
        {init}

    def forward(self, x):
        {forward}


def build():
    return Model()


def inputs():
    torch.manual_seed(0)
    return torch.randn(4, 8)
"""
IDENTITY, ZERO, MEAN = AblationKind.IDENTITY, AblationKind.ZERO, AblationKind.MEAN


def model(forward: str, init: str = "", top: str = "") -> str:
    """The text of a model with two linear layers."""
    indent = "\n        "
    lines = {name: text.strip().replace("\n", indent) for name, text in locals().items()}
    return _TEXT.format(top=top, init=lines["init"], forward=lines["forward"])


def planned(folder: Path, server: Server, text: str) -> AblationPlan:
    """The plan of a model."""
    project = written_project(folder, text)
    return plan_ablations(project, traced(server, project))


def outcome(plan: AblationPlan, component: str, kind: AblationKind) -> Planned | Refused:
    """The plan of one row, or why there is none."""
    found = {item.component.name: item.outcomes for item in plan.plans}
    result = found[component][kind]
    return result if isinstance(result, Refused) else result[0]


def variant_of(text: str, row: Planned | Refused) -> str:
    """The text of a variant."""
    assert isinstance(row, Planned), row
    return apply_edits(text, row.edits)


def built(text: str) -> Any:
    """The model of a text, made by plain Python."""
    module = types.ModuleType("model")
    exec(text, module.__dict__)
    torch.manual_seed(0)
    return module.build()


def assert_same_function(text: str, right: str, state: dict[str, Any]) -> None:
    """Two models compute the same and learn the same, on the same weights."""
    results = []
    for source in (text, right):
        found = built(source).double()
        found.load_state_dict({k: v.double() for k, v in state.items()}, strict=False)
        x = torch.linspace(-1, 1, 32).double().reshape(4, 8)
        output = found(x)
        output.square().sum().backward()
        learned = {k: v.grad for k, v in found.named_parameters() if v.grad is not None}
        results.append((output, {k: v for k, v in learned.items() if v.abs().max() > 0}))
    (one, learns), (other, should_learn) = results
    torch.testing.assert_close(one, other)
    assert learns.keys() == should_learn.keys()
    for name, gradient in learns.items():
        torch.testing.assert_close(gradient, should_learn[name])


@dataclass(frozen=True, kw_only=True)
class Case:
    """One cut of a model that writes in place, and a model written by hand without such writes."""

    forward: str
    component: str
    right: str
    kind: AblationKind = IDENTITY
    init: str = ""
    added: str  # a part of the text that the variant must have
    cut: tuple[str, ...] | None = None  # the parameters that lose their gradient


FIRST = ("first.weight", "first.bias")
CASES = {
    "a norm before an activation in place": Case(
        init="self.norm = nn.LayerNorm(8)\nself.act = nn.ReLU(inplace=True)",
        forward="x = self.first(x)\nout = self.act(self.norm(x))\nreturn x + self.last(out)",
        component="Model.norm",
        right="x = self.first(x)\nreturn x + self.last(torch.relu(x))",
        added="return x.clone()",
    ),
    "a norm before a sum in place": Case(
        init="self.norm = nn.LayerNorm(8)\nself.pos = nn.Parameter(torch.ones(8))",
        forward="x = self.first(x)\nh = self.norm(x)\nh += self.pos\nreturn x + self.last(h)",
        component="Model.norm",
        right="x = self.first(x)\nreturn x + self.last(x + self.pos)",
        added="return x.clone()",
    ),
    "a layer whose attributes are read": Case(
        init="self.norm = nn.LayerNorm(8)",
        forward="x = self.first(x)\nh = self.norm(x)\nh += self.norm.bias\nreturn x + self.last(h)",
        component="Model.norm",
        right="x = self.first(x)\nreturn x + self.last(x + self.norm.bias)",
        added="args[0].clone()",
    ),
    "one use of a layer": Case(
        forward="x = self.first(x)\nh = self.last(x)\nh += 1.0\nreturn x * self.last(h)",
        component="Model.forward:self.last (use 1)",
        right="x = self.first(x)\nreturn x * self.last(x + 1.0)",
        added="h = x.clone()",
    ),
    "a function": Case(
        forward="x = self.first(x)\nh = F.silu(x)\nh[:, 0] += 1.0\nreturn x * self.last(h)",
        component="Model.forward:F.silu",
        right="x = self.first(x)\none = torch.eye(8)[0].to(x)\nreturn x * self.last(x + one)",
        added="h = x.clone()",
    ),
    "a factor": Case(
        forward="u, g = self.first(x), self.last(x)\nw = u * g\nw -= x\nreturn w + u",
        component="Model.forward:u * g",
        right="u = self.first(x)\nreturn u - x + u",
        added="w = u.clone()",
    ),
    "a factor in a chain of methods": Case(
        forward="u, g = self.first(x), self.last(x)\ny = u.mul(g).add_(x)\nreturn y * 0.5 + u",
        component="Model.forward:u * g",
        right="u = self.first(x)\nreturn (u + x) * 0.5 + u",
        added="y = u.clone().add_(x)",
    ),
    "a factor that is a buffer": Case(
        init="self.register_buffer('mask', torch.ones(4, 8))",
        forward="w = self.mask * torch.sigmoid(self.first(x))\nw += self.last(x)\nreturn w.sin()",
        component="Model.forward:self.mask * torch.sigmoid",
        right="return (self.mask + self.last(x)).sin()",
        added="w = self.mask.clone()",
    ),
    "another name of what is written": Case(
        forward="h = self.first(x)\nout = h\nout += self.last(x)\nreturn out * torch.sigmoid(h)",
        component="Model.forward:out of out + self.last",
        kind=ZERO,
        right="b = self.last(x)\nreturn b * torch.sigmoid(b)",
        added="out[...] = self.last(x)",
        cut=FIRST,
    ),
    "another name, subtracted": Case(
        forward="h = self.first(x)\nout = h\nout -= self.last(x)\nreturn out * torch.sigmoid(h)",
        component="Model.forward:out of out - self.last",
        kind=ZERO,
        right="b = -self.last(x)\nreturn b * torch.sigmoid(b)",
        added="out[...] = -self.last(x)",
        cut=FIRST,
    ),
    "another name, by a method": Case(
        forward="h = self.first(x)\nout = h\nout.add_(self.last(x))\nreturn out * torch.sigmoid(h)",
        component="Model.forward:out of out + self.last",
        kind=ZERO,
        right="b = self.last(x)\nreturn b * torch.sigmoid(b)",
        added="out[...] = self.last(x)",
        cut=FIRST,
    ),
    "another name, by a method inside an expression": Case(
        forward="h = self.first(x)\nout = h\ny = out.add_(self.last(x))\nreturn y * torch.sin(h)",
        component="Model.forward:out of out + self.last",
        kind=ZERO,
        right="b = self.last(x)\nreturn b * torch.sin(b)",
        added="y = out.copy_(self.last(x))",
        cut=FIRST,
    ),
}


@pytest.mark.parametrize("name", CASES)
def test_a_variant_differs_by_its_cut_alone(tmp_path: Path, tracing: Server, name: str) -> None:
    case = CASES[name]
    text = model(case.forward, case.init)
    row = outcome(planned(tmp_path, tracing, text), case.component, case.kind)
    variant = variant_of(text, row)
    assert case.added in variant
    right = model(case.right, case.init)
    assert_same_function(variant, right, built(text).state_dict())
    if case.cut is not None:
        assert isinstance(row, Planned)
        assert set(row.cut_parameters) == set(case.cut)


def test_no_copy_where_nothing_else_would_change(tmp_path: Path, tracing: Server) -> None:
    forward = """
h = self.act(self.norm(self.first(x)))
h = F.silu(self.last(h))
h += 1.0
out = self.head(h)
out += torch.tanh(x)
out.mul_(2.0)
return torch.relu(out)
"""
    init = """
self.norm = nn.LayerNorm(8)
self.act = nn.ReLU(inplace=True)
self.head = nn.Linear(8, 8)
"""
    text = model(forward, init)
    plan = planned(tmp_path, tracing, text)
    outcomes = [pair for item in plan.plans for pair in item.outcomes.items()]
    rows = [row for kind, row in outcomes if isinstance(row, tuple) and kind is not MEAN]
    texts = [variant_of(text, row) for found in rows for row in found]
    assert len(texts) > 8
    assert not any(".clone()" in text or "[...]" in text or ".copy_" in text for text in texts)


@pytest.mark.parametrize(
    "question", ["isinstance(self.norm, nn.LayerNorm)", "hasattr(self.norm, 'eps')"]
)
def test_a_layer_whose_class_is_asked_for_stays(
    tmp_path: Path, tracing: Server, question: str
) -> None:
    ask = f"h = self.norm(h) + x if {question} else h * 7"
    text = model(f"h = self.first(x)\n{ask}\nreturn self.last(h)", "self.norm = nn.LayerNorm(8)")
    variant = variant_of(text, outcome(planned(tmp_path, tracing, text), "Model.norm", IDENTITY))
    right = model("return self.last(self.first(x) + x)", "self.norm = nn.LayerNorm(8)")
    assert_same_function(variant, right, built(text).state_dict())


def test_a_question_that_an_identity_answers_alike_changes_no_edit(
    tmp_path: Path, tracing: Server
) -> None:
    ask = "h = self.norm(h) if isinstance(self.norm, nn.Module) else h * 7"
    text = model(f"h = self.first(x)\n{ask}\nreturn self.last(h)", "self.norm = nn.LayerNorm(8)")
    row = outcome(planned(tmp_path, tracing, text), "Model.norm", IDENTITY)
    assert "self.norm = nn.Identity()" in variant_of(text, row)


def test_a_parameter_that_something_else_uses_is_not_said_to_be_gone(
    tmp_path: Path, tracing: Server
) -> None:
    init = """
self.average = nn.Linear(8, 8).requires_grad_(False)
self.gain = nn.Parameter(torch.ones(8))
"""
    forward = """
if self.training:
    with torch.no_grad():
        self.average.weight.mul_(0.9).add_(self.last.weight, alpha=0.1)
return self.last(self.first(x) * self.gain) + self.average(x)
"""
    plan = planned(tmp_path, tracing, model(forward, init))
    row = outcome(plan, "Model.average.weight", ZERO)
    assert isinstance(row, Refused)
    assert row.reason == "its layer (Linear) goes on using it"
    assert isinstance(outcome(plan, "Model.gain", AblationKind.CONSTANT), Planned)


def test_a_parameter_read_under_another_name_is_not_said_to_be_gone(
    tmp_path: Path, tracing: Server
) -> None:
    top = """
class Part(nn.Module):
    def __init__(self):
        super().__init__()
        self.gain = nn.Parameter(torch.ones(8))

    def forward(self, x):
        return x * self.gain
"""
    forward = "return self.last(self.part(self.first(x))) * self.part.gain"
    text = model(forward, "self.part = Part()", top)
    plan = planned(tmp_path, tracing, text)
    row = outcome(plan, "Part.gain", AblationKind.CONSTANT)
    assert isinstance(row, Refused)
    assert "of model.py goes on using it" in row.reason


def test_a_layer_that_leaves_its_result_elsewhere_is_not_removed(
    tmp_path: Path, tracing: Server
) -> None:
    top = """
class Part(nn.Module):
    def __init__(self, kept):
        super().__init__()
        self.inner = nn.Linear(8, 8)
        self.kept = [kept]

    def forward(self, x):
        y = self.inner(x)
        self.kept[0].append(y)
        return torch.tanh(y)
"""
    init = "self.kept = []\nself.part = Part(self.kept)\nself.other = Part([])"
    forward = """
self.kept.clear()
h = self.part(self.first(x))
return self.last(self.other(h)) + sum(self.kept)
"""
    plan = planned(tmp_path, tracing, model(forward, init, top))
    row = outcome(plan, "Model.part", IDENTITY)
    assert isinstance(row, Refused)
    assert row.reason == "what part.inner computes inside it is used elsewhere as well"
    assert isinstance(outcome(plan, "Model.other", IDENTITY), Planned)


def test_a_row_says_what_a_closure_takes_along(tmp_path: Path, tracing: Server) -> None:
    init = """
self.part, self.twin = nn.Linear(8, 8), nn.Linear(8, 8)
old = self.part.forward
self.part.forward = lambda x: old(x) * 0.5 + self.twin(x)
"""
    plan = planned(tmp_path, tracing, model("return self.last(self.part(self.first(x)))", init))
    row = outcome(plan, "Model.part", IDENTITY)
    assert isinstance(row, Planned)
    assert row.substitute == "its input; twin.weight, twin.bias, used inside it, go as well"
    alone = outcome(plan, "Model.twin", IDENTITY)
    assert isinstance(alone, Planned)
    assert alone.substitute is None


@pytest.mark.parametrize("estimator", ["(torch.round(q) - q).detach() + q", "q + (g - q).detach()"])
def test_a_straight_through_estimator_is_no_sum(
    tmp_path: Path, tracing: Server, estimator: str
) -> None:
    forward = f"q = self.first(x)\ng = torch.round(q)\nq = {estimator}\nreturn self.last(q)"
    plan = planned(tmp_path, tracing, model(forward))
    rows = [
        row
        for item in plan.plans
        if "q" in item.component.name.partition(":")[2]
        for row in item.outcomes.values()
    ]
    assert len(rows) >= 4
    for row in rows:
        assert isinstance(row, Refused)
        assert row.reason.startswith("a straight-through estimator: its value is ")
