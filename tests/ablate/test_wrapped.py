"""Parts that hide behind something: compiled, lazy, copied, in dictionaries, called by forward."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from antifragile.ablate.pipeline import Ablations, make_ablations
from antifragile.ablate.plan.model import plan_ablations
from antifragile.ablate.records import AblationKind, AblationPlan, Planned, Refused
from antifragile.ablate.sandbox.server import Server
from tests.ablate.model_projects import model_plan, part_of, traced, written_project

Plan = Callable[[str], AblationPlan]
Made = Callable[[AblationPlan, list[str]], Ablations]

HEAD = """
import copy
import torch
import torch.nn.functional as F
from types import SimpleNamespace
from torch import nn


def inputs():
    return (torch.randn(4, 8, generator=torch.Generator().manual_seed(3)),)


class Block(nn.Module):
    def __init__(self):
        super().__init__()
        self.fc, self.act = nn.Linear(8, 8), nn.ReLU()

    def forward(self, x):
        return x + self.act(self.fc(x))

"""


@pytest.fixture
def plan(tmp_path: Path, tracing: Server) -> Plan:
    """Plans a model given by its source."""

    def planned(text: str) -> AblationPlan:
        project = written_project(tmp_path, HEAD + text)
        return plan_ablations(project, traced(tracing, project))

    return planned


@pytest.fixture
def made(tmp_path: Path, tracing: Server) -> Made:
    """Generates and certifies some components of a plan."""

    def generated(found: AblationPlan, names: list[str]) -> Ablations:
        return make_ablations(part_of(found, names), tmp_path / "out", server=tracing)

    return generated


def texts(plan: AblationPlan, name: str, kind: AblationKind = AblationKind.IDENTITY) -> list[str]:
    """The new texts of the edit of one component."""
    [found] = [item for item in plan.plans if item.component.name == name]
    outcome = found.outcomes[kind]
    assert not isinstance(outcome, Refused), outcome
    return [edit.text.strip() for edit in outcome[0].edits]


def reason(plan: AblationPlan, name: str, kind: AblationKind = AblationKind.IDENTITY) -> str:
    """The reason why one component cannot be ablated in one way."""
    [found] = [item for item in plan.plans if item.component.name == name]
    outcome = found.outcomes[kind]
    assert isinstance(outcome, Refused)
    return outcome.reason


def names_of(plan: AblationPlan) -> set[str]:
    """The names of the components that can be ablated, inputs left out."""
    names = {item.component.name for item in plan.plans if item.component.reason is None}
    return {name for name in names if not name.startswith("input")}


def verdicts(made: Ablations) -> dict[str, str]:
    """The verdict of each component's variant."""
    return {item.component: str(item.verdict) for item in made.certificates}


def test_compiled_parts_are_looked_through(tracing: Server, made: Made) -> None:
    plan = model_plan(tracing, "compiled")
    assert names_of(plan) >= {
        *(
            "Block.fc",
            "Block.act",
            "Block.forward:x + self.act",
            "Odd.fc",
            "Odd.forward:torch.tanh",
        ),
        *("Net.block", "Net.odd", "Net.deep", "Net.out", "squash:F.softsign", "soften:F.softplus"),
        *("Net._post:F.gelu", "Net.middle:torch.sigmoid", "Net.middle:torch.sigmoid + x"),
    }
    # its `_orig_mod` is read: it stays, behind a hook
    assert texts(plan, "Net.block")[0] == 'bypassed(torch.compile(Block(), backend="eager"))'
    found = verdicts(made(plan, ["Block.act", "Net.block", "Net.deep", "soften:F.softplus"]))
    assert set(found.values()) == {"certified"}


def test_lazy_layers_have_parameters_before_they_are_watched(plan: Plan, made: Made) -> None:
    found = plan("""
class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.body = nn.Sequential(nn.LazyLinear(8), nn.ReLU())
        self.head = nn.LazyLinear(3)

    def forward(self, x):
        return self.head(x + self.body(x))


def build():
    return Net()
""")
    sizes = {item.name: item.parameters for item in found.components}
    assert sizes["Net.body"] == 72
    assert sizes["Net.head"] == 27
    assert texts(found, "Net.head")[0] == "shape_only(nn.LazyLinear(3))"
    chosen = ["Net.body", "Net.head", "Net.forward:x + self.body"]
    assert set(verdicts(made(found, chosen)).values()) == {"certified"}


def test_layers_built_in_the_first_forward_are_components(plan: Plan) -> None:
    found = plan("""
class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.layers = None

    def forward(self, x):
        if self.layers is None:
            self.layers = nn.ModuleList([nn.Linear(x.shape[1], 8) for _ in range(2)])
            self.last = nn.Linear(8, 2)
        for layer in self.layers:
            x = torch.relu(layer(x))
        return self.last(x)


def build():
    return Net()
""")
    assert texts(found, "Net.layers[*] (all)") == ["nn.Identity()"]
    assert reason(found, "Net.layers[0]") == "it takes its place in Net only after __init__"
    assert "Net.last" in names_of(found)


def test_entries_of_dictionaries_are_reached_by_their_keys(plan: Plan, made: Made) -> None:
    found = plan("""
class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.acts = nn.ModuleDict({"tanh": nn.Tanh(), "0": nn.GELU()})
        self.fcs = nn.ModuleDict([[key, nn.Linear(8, 8)] for key in self.acts])
        cells = [nn.ModuleDict({"0": Block(), "norm": nn.LayerNorm(8)}) for _ in range(2)]
        self.cells = nn.ModuleList(cells)
        self.extra = nn.ParameterDict({"gain": nn.Parameter(torch.ones(8))})
        self.scales = nn.ParameterList([nn.Parameter(torch.randn(8)) for _ in range(2)])
        self.out = nn.Linear(8, 2)

    def forward(self, x):
        for key, fc in self.fcs.items():
            x = x + self.acts[key](fc(x)) * self.extra["gain"]
        for i in range(2):
            x = self.cells[i]["norm"](self.cells[i]["0"](x)) * self.scales[i]
        return self.out(x)


def build():
    return Net()
""")
    assert texts(found, "Net.acts['0']") == ["nn.Identity()"]
    assert texts(found, "Net.fcs['0']") == ["self.fcs['0'] = nn.Identity()"]
    assert texts(found, "Net.cells[1]['0']") == ["self.cells[1]['0'] = nn.Identity()"]
    assert texts(found, "Net.scales[i]", AblationKind.CONSTANT) == [
        "torch.ones_like(self.scales[i])"
    ]
    sizes = {item.name: item.parameters for item in found.components}
    assert sizes['Net.extra["gain"]'] == 8
    assert sizes["Net.scales[i]"] == 16
    assert "Net.extra" not in sizes  # a container, no component
    chosen = ["Net.fcs['0']", "Net.cells[1]['0']", "Net.scales[i]", 'Net.extra["gain"]']
    assert verdicts(made(found, chosen)) == {
        "Net.fcs['0']": "certified",
        "Net.cells[1]['0']": "certified",
        "Net.scales[i]": "certified",
        'Net.extra["gain"]': "certified-inactive-at-init",
    }


def test_what_acts_on_one_sign_alone_is_seen(plan: Plan, made: Made) -> None:
    found = plan("""
class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.w = nn.Parameter(torch.ones(2))
        self.p, self.q, self.out = nn.Linear(8, 8), nn.Linear(8, 8), nn.Linear(8, 2)

    def forward(self, x):
        w = torch.relu(self.w)
        w = w / w.sum()
        return self.out(w[0] * self.p(x) + w[1] * self.q(x))


def build():
    return Net()
""")
    result = made(found, ["Net.forward:torch.relu", "Net.w"])
    assert verdicts(result)["Net.forward:torch.relu"] == "certified-inactive-at-init"
    failed, other = (item for item in result.certificates if item.component == "Net.w")
    assert (failed.verdict, other.verdict) == ("failed", "certified-inactive-at-init")
    assert failed.reason == "the output holds infinities or NaN, the baseline's does not"


def test_modules_called_by_forward_have_run(plan: Plan, made: Made) -> None:
    found = plan("""
class Scaled(nn.Module):
    def __init__(self):
        super().__init__()
        self.fc = nn.Linear(8, 8)

    def __call__(self, x, scale=2.0):
        return super().__call__(x) * scale

    def forward(self, x):
        return self.fc(x)


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.blocks = [Block() for _ in range(2)]
        self.layers = nn.ModuleList([nn.Linear(8, 8) for _ in range(2)])
        self.space = SimpleNamespace(inner=nn.Linear(8, 8))
        self.scaled = Scaled()
        self.out = nn.Linear(8, 2)

    def forward(self, x):
        for i in range(2):
            x = self.blocks[i].forward(x)
        for layer in self.layers:
            x = x + layer.forward(torch.tanh(x))
        return self.out.forward(self.scaled(self.space.inner(x), scale=3.0))


def build():
    return Net()
""")
    assert {"Net.blocks[*] (all)", "Net.blocks[0]", "Net.layers[1]"} <= names_of(found)
    assert {"Net.space.inner", "Net.scaled", "Net.out"} <= names_of(found)
    assert texts(found, "Net.scaled")[0] == "PassThrough()"
    words = "its forward is called directly: no hook sees what it returns"
    assert reason(found, "Net.layers[1]", AblationKind.ZERO) == words
    result = made(found, ["Net.blocks[0]", "Net.layers[1]", "Net.scaled", "Net.out"])
    assert set(verdicts(result).values()) == {"certified"}


def test_copies_inherit_where_their_original_was_built(plan: Plan, made: Made) -> None:
    found = plan("""
def clones(module, n):
    return nn.ModuleList([copy.deepcopy(module) for _ in range(n)])


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.blocks = clones(Block(), 2)
        self.online = nn.Linear(8, 8)
        self.target = copy.deepcopy(self.online)
        self.out = nn.Linear(16, 2)

    def forward(self, x):
        for block in self.blocks:
            x = block(x)
        return self.out(torch.cat([self.online(x), self.target(x)], 1))


def build():
    return Net()
""")
    assert texts(found, "Block.fc") == ["nn.Identity()"]
    assert texts(found, "Net.blocks[*] (all)") == ["nn.Identity()"]
    assert texts(found, "Net.blocks[1]") == ["self.blocks[1] = nn.Identity()"]
    assert not any(name.startswith(("blocks", "target")) for name in names_of(found))
    [one] = [item for item in found.plans if item.component.name == "Net.online"]
    edit = planned(one.outcomes[AblationKind.IDENTITY]).edits[0]
    text = (Path(found.project.root) / "model.py").read_text()
    assert edit.start > text.index("copy.deepcopy(self.online)")  # the copy is not cut as well
    chosen = ["Block.fc", "Net.blocks[1]", "Net.online", "Net.target"]
    assert set(verdicts(made(found, chosen)).values()) == {"certified"}


def planned(outcome: tuple[Planned, ...] | Refused) -> Planned:
    """The one variant of an outcome that is no refusal."""
    assert not isinstance(outcome, Refused)
    return outcome[0]


def test_layers_wrapped_after_construction_are_not_edited_in_init(plan: Plan) -> None:
    found = plan("""
class Adapted(nn.Module):
    def __init__(self, base):
        super().__init__()
        self.base_layer = base.requires_grad_(False)
        self.low = nn.Linear(8, 2, bias=False)
        self.high = nn.Linear(2, base.out_features, bias=False)

    def forward(self, x):
        return self.base_layer(x) + self.high(self.low(x))


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.one, self.two = nn.Linear(8, 8), nn.Linear(8, 2)

    def forward(self, x):
        return self.two(torch.relu(self.one(x)))


def build():
    net = Net()
    for name in ("one", "two"):
        setattr(net, name, Adapted(getattr(net, name)))
    return net
""")
    words = "it takes its place in Net only after __init__"
    assert reason(found, "Net.one", AblationKind.ZERO) == words


@pytest.mark.parametrize("fill", ['float("-inf")', pytest.param("-1e9", marks=pytest.mark.slow)])
def test_a_masked_softmax_leaves_even_weights(fill: str, plan: Plan, made: Made) -> None:
    found = plan(f"""
class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.qkv, self.soft, self.out = nn.Linear(8, 24), nn.Softmax(dim=-1), nn.Linear(8, 2)

    def forward(self, x):
        q, k, v = self.qkv(x).chunk(3, -1)
        scores = q @ k.T
        hidden = ~torch.tril(torch.ones(4, 4, dtype=torch.bool))
        weights = F.softmax(scores.masked_fill(hidden, {fill}), dim=-1)
        other = self.soft(scores.masked_fill(hidden, {fill}))
        return self.out((weights + other + scores.softmax(-1)) @ v)


def build():
    return Net()
""")
    assert texts(found, "Net.forward:F.softmax")[0].startswith("even_attention(")
    assert texts(found, "Net.soft")[0] == "EvenAttention()"
    assert texts(found, "Net.forward:scores.softmax") == ["scores"]  # finite: as before
    chosen = ["Net.forward:F.softmax", "Net.soft"]
    assert set(verdicts(made(found, chosen)).values()) == {"certified"}
