"""Models as libraries write them: tuples as results, inputs by name, attention by a setting."""

from __future__ import annotations

from pathlib import Path

import pytest

from antifragile.ablate.certify.certificate import certify
from antifragile.ablate.generation.generate import generate
from antifragile.ablate.plan.model import plan_ablations
from antifragile.ablate.records import AblationKind, Refused
from antifragile.ablate.sandbox.server import Server
from antifragile.ablate.source.project import load_project
from tests.ablate.model_projects import (
    model_plan,
    model_project,
    part_of,
    traced,
    written_project,
)


def folder_of(out: Path, server: Server, model: str, component: str, kind: AblationKind) -> Path:
    """The folder of a certified variant."""
    plan = part_of(model_plan(server, model), [component])
    variants = generate(plan, out, [kind])
    [certificate] = certify(model_project(model), out, variants, server=server, cold_imports=0)
    assert certificate.verdict == "certified", certificate.reason
    return out / variants[0].folder


def names(server: Server, model: str) -> list[str]:
    return [item.component.name for item in model_plan(server, model).plans]


@pytest.mark.parametrize(
    ("model", "component", "kind"),
    [
        ("tuple_results", "Block.attention", AblationKind.IDENTITY),
        ("attention_interface", "Layer.self_attn", AblationKind.IDENTITY),
        ("attention_interface", "Layer.self_attn", AblationKind.ZERO),
    ],
)
def test_of_a_tuple_the_first_result_changes_and_the_others_stay(
    tracing: Server, tmp_path: Path, model: str, component: str, kind: AblationKind
) -> None:
    diff = (folder_of(tmp_path, tracing, model, component, kind) / "change.diff").read_text()
    assert "*output[1:]" in diff
    assert ("zeros_like(output[0])" in diff) == (kind == "zero")


def test_the_parameters_of_the_other_results_keep_their_gradient(
    tracing: Server, tmp_path: Path
) -> None:
    [item] = part_of(model_plan(tracing, "tuple_results"), ["Block.attention"]).plans
    outcome = item.outcomes[AblationKind.IDENTITY]
    assert not isinstance(outcome, Refused)
    assert outcome[0].cut_parameters == ()  # the weights that it also returns reach the output


STRAY = """
import torch
from parts import Part
from torch import nn


class Net(nn.Module):
    def __init__(self, part):
        super().__init__()
        self.part, self.head = part, nn.Linear(4, 2)

    def forward(self, x):
        found, weights = self.part(x, scale=2.0)
        return self.head(found) + weights.mean()
"""
PARTS = """
from torch import nn


class Part(nn.Module):
    def __init__(self):
        super().__init__()
        self.inner = nn.Linear(4, 4)

    def forward(self, x, scale):
        y = scale * self.inner(x)
        return y, y.softmax(-1)
"""
ENTRY = """
import torch
from model import Net
from parts import Part


def build():
    return Net(Part())


def inputs():
    return (torch.randn(3, 4),)
"""


def test_of_a_module_built_elsewhere_the_first_result_changes_at_its_call(
    tracing: Server, tmp_path: Path
) -> None:
    for name, text in {"model": STRAY, "parts": PARTS, "entry": ENTRY}.items():
        (tmp_path / f"{name}.py").write_text(text)
    entry = tmp_path / "entry.py"
    project = load_project([tmp_path / "model.py"], f"{entry}:build", f"{entry}:inputs")
    plan = part_of(plan_ablations(project, traced(tracing, project)), ["part"])
    variants = generate(plan, tmp_path / "out", [AblationKind.IDENTITY])
    [certificate] = certify(project, tmp_path / "out", variants, server=tracing, cold_imports=0)
    assert certificate.verdict == "certified", certificate.reason
    new = (tmp_path / "out" / variants[0].folder / "model.py").read_text()
    assert "found, weights = (x, *self.part(x, scale=2.0)[1:])" in new


def test_a_class_called_like_a_librarys_is_edited_as_any_other(
    tracing: Server, tmp_path: Path
) -> None:
    folder = folder_of(tmp_path, tracing, "tuple_results", "Net.unit", AblationKind.IDENTITY)
    assert "self.unit = nn.Identity()" in (folder / "tuple_results.py").read_text()


def test_heads_are_found_behind_an_attention_chosen_by_a_setting(
    tracing: Server, tmp_path: Path
) -> None:
    plan = part_of(model_plan(tracing, "attention_interface"), ["Attention.forward:heads"])
    [item] = plan.plans
    assert item.component.input_shapes == ((3, 6, 2, 4),)
    variants = generate(plan, tmp_path)
    assert [variant.options["head"] for variant in variants] == ["0", "1"]
    project = model_project("attention_interface")
    for certificate in certify(project, tmp_path, variants, server=tracing, cold_imports=0):
        assert certificate.verdict == "certified", certificate.reason


def test_rotary_embeddings_are_one_unit(tracing: Server) -> None:
    found = names(tracing, "attention_interface")
    assert [name for name in found if "rota" in name.lower()] == ["Attention.forward:apply_rotary"]


def test_a_function_that_gives_its_argument_back_is_left_out(tracing: Server) -> None:
    plan = model_plan(tracing, "attention_interface")
    [found] = [item for item in plan.components if "as_given" in item.name]
    assert found.is_left_out
    assert found.reason == "it returns what it is given: nothing to take away"


SLOTS = """
import torch
from torch import nn


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.layers = nn.ModuleList([])
        for _ in range(2):
            norms = nn.ModuleList([nn.LayerNorm(4), nn.LayerNorm(4)])
            self.layers.append(nn.ModuleList([norms, nn.Linear(4, 4)]))

    def forward(self, x):
        for norms, block in self.layers:
            x = x + norms[1](block(norms[0](x)))
        return x


def build():
    return Net()


def inputs():
    return (torch.randn(3, 4),)
"""


def test_a_list_within_each_item_of_a_stack_is_no_stack(tracing: Server, tmp_path: Path) -> None:
    project = written_project(tmp_path, SLOTS)
    plan = plan_ablations(project, traced(tracing, project))
    shrinkable = [item.name for item in plan.components if AblationKind.SHRINK in item.kinds]
    assert "Net.layers[*] (all)" in shrinkable
    assert "Net.layers[*][0] (all)" not in [item.name for item in plan.components]


SUMMED = """
import torch
from torch import nn


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.tokens, self.places = nn.Embedding(9, 4), nn.Embedding(6, 4)
        self.register_buffer("bias", torch.randn(3, 6, 4))

    def forward(self, tokens):
        x = self.tokens(tokens)
        place = self.places(torch.arange(6).expand(3, 6))
        x = x + place.to(x.device)
        return x + {bias}


def build():
    return Net()


def inputs():
    return (torch.randint(9, (3, 6)),)
"""


@pytest.mark.parametrize(
    ("bias", "kind"),
    [
        ("self.bias.to(x.dtype)", "sum"),
        ("torch.tanh(x.detach()) * self.bias", "residual"),
    ],
)
def test_a_summand_moved_to_the_others_device_is_not_computed_from_it(
    tracing: Server, tmp_path: Path, bias: str, kind: str
) -> None:
    project = written_project(tmp_path, SUMMED.format(bias=bias))
    plan = plan_ablations(project, traced(tracing, project))
    found = [item for item in plan.components if item.name.startswith("Net.forward:")]
    kinds = {item.span.start_line: str(item.kind) for item in found if " + " in item.name}
    assert list(kinds.values()) == ["sum", kind]


OPTIONAL = """
import torch
from torch import nn


class Net(nn.Module):
    def __init__(self, has_bias=True):
        super().__init__()
        self.linear = nn.Linear(4, 4)
        self.bias = nn.Parameter(torch.randn(4)) if has_bias else None

    def forward(self, x):
        x = self.linear(x)
        if self.bias is not None:
            x = x + self.bias
        return x.to(self.linear.weight.dtype)


def build():
    return Net()


def inputs():
    return (torch.randn(3, 4),)
"""


def test_a_question_whether_a_parameter_is_there_stays(tracing: Server, tmp_path: Path) -> None:
    project = written_project(tmp_path, OPTIONAL)
    plan = plan_ablations(project, traced(tracing, project))
    assert "Net.linear.weight" not in [item.name for item in plan.components]
    [variant] = generate(part_of(plan, ["Net.bias"]), tmp_path / "out", [AblationKind.ZERO])
    new = (tmp_path / "out" / variant.folder / "model.py").read_text()
    assert "if self.bias is not None:\n            x = x + torch.zeros_like(self.bias)" in new


STACKED = """
import torch
from torch import nn


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.stack = nn.Sequential(nn.Conv1d(3, 5, 3, padding=1), nn.ReLU(), nn.Dropout(0.1))
        self.body = nn.Sequential(nn.Linear(7, 7), nn.ReLU())
        self.head = nn.Linear(7, 2)

    def forward(self, x):
        return self.head(self.body(self.stack(x)))


def build():
    return Net()


def inputs():
    return (torch.randn(4, 3, 7),)
"""


def test_the_mean_over_positions_of_a_stack_is_told_by_what_lies_inside(
    tracing: Server, tmp_path: Path
) -> None:
    project = written_project(tmp_path, STACKED)
    plan = part_of(plan_ablations(project, traced(tracing, project)), ["Net.stack", "Net.body"])
    variants = generate(plan, tmp_path / "out", [AblationKind.MEAN])
    assert {variant.component: variant.substitute for variant in variants} == {
        "Net.stack": "its mean over positions (axis 2), later ones included, for each sample",
        "Net.body": "its mean over positions (axis 1), later ones included, for each sample",
    }
