"""What a variant writes in the place of a call, it evaluates as often as the model did: once."""

from __future__ import annotations

import ast
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
import torch

from antifragile.ablate.plan.calls import once
from antifragile.ablate.plan.model import plan_ablations
from antifragile.ablate.records import AblationKind, NoLegalEdit, Planned, Refused
from antifragile.ablate.sandbox.server import Server
from antifragile.ablate.source.syntax import SourceFile
from tests.ablate.model_projects import traced, written_project
from tests.ablate.test_aliases import IDENTITY, MEAN, built, outcome, planned, variant_of

NET = """
import torch
import torch.nn.functional as F
from torch import nn


class Narrow(nn.Module):
    def __init__(self):
        super().__init__()
        self.inner, self.norm = nn.Linear(8, 4), nn.BatchNorm1d(4)

    def forward(self, x):
        return self.norm(self.inner(x))


class Attend(nn.Module):
    def __init__(self):
        super().__init__()
        self.inner = nn.Linear(8, 8)

    def forward(self, x, scale=1.0):
        return self.inner(x) * scale, x.sum()


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.first, self.norm, self.drop = nn.Linear(8, 8), nn.BatchNorm1d(8), nn.Dropout(0.5)
        self.narrow, self.thin, self.attend = Narrow(), nn.Linear(8, 4), Attend()
        self.gain, self.last = nn.Parameter(torch.randn(8)), nn.Linear(4, 3)
        self.register_buffer("counted", torch.zeros(()))

    def count(self, x):
        self.counted += 1
        return x * (1 + self.counted)

    def me(self):
        self.counted += 1
        return self

    def forward(self, x):
        {forward}


def build():
    return Net()


def inputs():
    torch.manual_seed(0)
    return {inputs}
"""
PLAIN = "torch.randn(4, 8)"
ONCE = "self.drop(self.norm(self.first(x)))"
COUNTED = "self.drop(self.count(self.norm(self.first(x))))"


def model(forward: str, inputs: str = PLAIN) -> str:
    text = NET.replace("{inputs}", inputs)
    return text.replace("{forward}", forward.strip().replace("\n", "\n        "))


def after_training(text: str) -> tuple[Counter[str], dict[str, Any], int]:
    """What one training forward leaves: calls by module, buffers, the random stream's next draw."""
    net = built(text)
    calls = Counter[str]()
    for name, module in net.named_modules():
        module.register_forward_hook(lambda *_, name=name: calls.update([name]))
    torch.manual_seed(1)
    net.train()(torch.linspace(-1, 1, 32).reshape(4, 8))
    state = {name: value.clone() for name, value in net.named_buffers()}
    return calls, state, int(torch.randint(2**40, ()))


def assert_upstream_as_before(text: str, variant: str, *, gone: str) -> None:
    (calls, state, drawn), (calls_now, state_now, drawn_now) = map(after_training, (text, variant))
    kept = {name for name in calls if not name.startswith(gone)}
    assert {name: calls_now[name] for name in kept} == {name: calls[name] for name in kept}
    assert all(calls_now[name] <= calls[name] for name in calls)
    for name, value in state.items():
        if not name.startswith(gone):
            torch.testing.assert_close(state_now[name], value, rtol=0, atol=0)
    assert drawn_now == drawn


TWICE = """
y = self.{layer}({argument})
return self.last(y + self.{layer}(x))
"""


@pytest.mark.parametrize(
    ("argument", "written"),
    [
        (ONCE, f"resample({ONCE}, (4,))"),
        (COUNTED, f"resample((given := {COUNTED}), self.thin(given).shape[1:])"),
        ("x", "resample(x, self.thin(x).shape[1:])"),
    ],
)
def test_a_layer_used_twice_gets_its_argument_once(
    tmp_path: Path, tracing: Server, argument: str, written: str
) -> None:
    """Where a count makes each call another one, no sizes are known for any number of samples."""
    text = model(TWICE.format(layer="thin", argument=argument))
    row = outcome(planned(tmp_path, tracing, text), "Net.forward:self.thin (use 1)", IDENTITY)
    variant = variant_of(text, row)
    assert f"y = {written}\n" in variant
    assert_upstream_as_before(text, variant, gone="thin")


@pytest.mark.parametrize("argument", [ONCE, "x"])
def test_a_layer_with_state_does_not_run_for_its_shape(
    tmp_path: Path, tracing: Server, argument: str
) -> None:
    text = model(TWICE.format(layer="narrow", argument=argument))
    row = outcome(planned(tmp_path, tracing, text), "Net.forward:self.narrow (use 1)", IDENTITY)
    variant = variant_of(text, row)
    assert f"y = resample({argument}, (4,))\n" in variant
    assert after_training(variant)[0]["narrow.norm"] == 1  # the other use
    assert_upstream_as_before(text, variant, gone="narrow")


def test_a_layer_with_state_and_unknown_sizes_is_refused(tmp_path: Path, tracing: Server) -> None:
    text = model(TWICE.format(layer="narrow", argument=COUNTED))
    row = outcome(planned(tmp_path, tracing, text), "Net.forward:self.narrow (use 1)", IDENTITY)
    assert isinstance(row, Refused)
    assert row.reason.startswith("the sizes of its result are not known to be the same")


def test_sizes_that_are_the_inputs_stay_so(tmp_path: Path, tracing: Server) -> None:
    forward = """
y = self.thin(self.drop(self.first(x)))
return self.last(y + self.thin(x))
"""
    text = model(forward, "torch.randn(4, 5, 8)")
    row = outcome(planned(tmp_path, tracing, text), "Net.forward:self.thin (use 1)", IDENTITY)
    assert isinstance(row, Planned)
    assert row.substitute == (
        "averages over every axis, in the recorded sizes of the old result, (None, 4) "
        "(None: as in the input)"
    )
    net = built(variant_of(text, row))
    for length in (5, 9):
        assert net(torch.randn(2, length, 8)).shape == (2, length, 3)


def test_a_function_gets_its_argument_once(tmp_path: Path, tracing: Server) -> None:
    text = model(f"return self.last(F.linear({ONCE}, self.thin.weight))")
    row = outcome(planned(tmp_path, tracing, text), "Net.forward:F.linear", IDENTITY)
    variant = variant_of(text, row)
    assert f"resample({ONCE}, (4,))" in variant
    assert_upstream_as_before(text, variant, gone="thin")


def test_a_first_result_gets_its_input_once(tmp_path: Path, tracing: Server) -> None:
    forward = f"""
given, _ = self.attend({ONCE}, scale=2.0)
y, _ = self.attend(given)
return self.last(self.thin(y))
"""
    text = model(forward)
    plan = planned(tmp_path, tracing, text)
    row = outcome(plan, "Net.forward:self.attend (use 1)", IDENTITY)
    variant = variant_of(text, row)
    call = "self.attend(given_2, scale=2.0)"
    assert f"given, _ = ((given_2 := {ONCE}), *{call}[1:])\n" in variant  # `given` is not free
    assert_upstream_as_before(text, variant, gone="attend")
    plain = outcome(plan, "Net.forward:self.attend (use 2)", IDENTITY)
    assert "y, _ = (given, *self.attend(given)[1:])\n" in variant_of(text, plain)


def test_the_owner_of_a_parameter_is_asked_for_once(tmp_path: Path, tracing: Server) -> None:
    text = model("return self.last(self.thin(self.first(x) * self.me().gain))")
    plan = planned(tmp_path, tracing, text)
    variant = variant_of(text, outcome(plan, "Net.me().gain", MEAN))
    assert "* (given := self.me().gain).mean().expand_as(given)" in variant
    assert_upstream_as_before(text, variant, gone="none")
    ones = variant_of(text, outcome(plan, "Net.me().gain", AblationKind.CONSTANT))
    assert "torch.ones_like(self.me().gain)" in ones


def test_a_template_of_the_user_gets_its_argument_once(tmp_path: Path, tracing: Server) -> None:
    folder = tmp_path / "templates"
    folder.mkdir()
    (folder / "mine.toml").write_text(
        '[[template]]\ncomponent = "functional"\nablation = "identity"\nmatch = ["relu"]\n'
        'replacement = "0.5 * ({input} + {call})"\n'
    )
    text = model(f"return self.last(self.thin(torch.relu({ONCE})))")
    project = written_project(tmp_path, text)
    plan = plan_ablations(project, traced(tracing, project), templates=folder)
    variant = variant_of(text, outcome(plan, "Net.forward:torch.relu", IDENTITY))
    assert f"0.5 * ((given := {ONCE}) + torch.relu(given))" in variant
    assert_upstream_as_before(text, variant, gone="none")


@pytest.mark.parametrize(
    ("text", "plain"),
    [
        *((text, True) for text in ("x", "self.a.b", "x[0]", "x[i].y", "-1", "(0, -1)", "'a'")),
        *(
            (text, False)
            for text in ("f(x)", "f(x).y", "x[f(i)]", "x[:, 0]", "x + 1", "-x", "(x,)")
        ),
    ],
)
def test_only_names_attributes_items_and_constants_may_be_written_twice(
    text: str, plain: bool
) -> None:
    assert once.is_plain(ast.parse(text, mode="eval").body) is plain


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("y = f(*xs())", "not written as an argument of its own"),
        ("y = [a for a in f(g(x))]", "can be given no name"),
        ("y = f(draw(), g(x))", "computed after another argument"),
    ],
)
def test_an_argument_that_can_be_given_no_name_is_refused(text: str, reason: str) -> None:
    source = SourceFile("model.py", text)
    calls = [node for node in ast.walk(source.tree) if isinstance(node, ast.Call)]
    node = next(call for call in calls if ast.unparse(call.func) == "f")
    with pytest.raises(NoLegalEdit, match=reason):
        once.names_for(source, node, node.args[-1:])
