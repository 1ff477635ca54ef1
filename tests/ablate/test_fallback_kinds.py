"""The next kind is tried where the default one is refused; what does nothing is left out."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from antifragile.ablate.certify.weights import randomised
from antifragile.ablate.pipeline import Ablations, find_components, make_ablations
from antifragile.ablate.records import AblationKind, CertificateVerdict, Component, Refused
from antifragile.ablate.sandbox.server import Server
from antifragile.ablate.source.project import load_project
from antifragile.cli.ablate.generate import _plain_components
from tests.ablate.model_projects import written_project

LAYER = """
from torch import nn


class Layer(nn.Module):
    def __init__(self):
        super().__init__()
        self.inner = nn.Linear(8, 8)
        self.to("cpu")

    def forward(self, x):
        return self.inner(x)
"""
TRIAL = """
import torch
from layer import Layer
from torch import nn


def build():
    return nn.Sequential(Layer(), nn.ReLU(), Layer())


def inputs():
    return (torch.linspace(-1, 1, 40).reshape(5, 8),)
"""


def test_a_method_that_returns_its_own_object_builds_nothing(
    tmp_path: Path, tracing: Server
) -> None:
    (tmp_path / "layer.py").write_text(LAYER)
    (tmp_path / "trial.py").write_text(TRIAL)
    trial = tmp_path / "trial.py"
    project = load_project([tmp_path / "layer.py"], f"{trial}:build", f"{trial}:inputs")
    plan = find_components(project, server=tracing)
    assert [item.name for item in plan.components] == ["Layer.inner"]


WHOLE = """
import torch
from torch import nn


def default(value, other):
    return value if value is not None else other


class Inner(nn.Module):
    def __init__(self):
        super().__init__()
        self.body, self.head = nn.Linear(8, 8), nn.Linear(8, 3)

    def forward(self, x, context=None):
        x = self.body(x)
        return self.head(default(context, x))


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.inner = Inner()

    def forward(self, x):
        return self.inner(x)


def build():
    return Net()


def inputs():
    return (torch.linspace(-1, 1, 40).reshape(5, 8),)
"""


def test_what_is_the_whole_model_or_returns_its_argument_is_left_out(
    tmp_path: Path, tracing: Server
) -> None:
    plan = find_components(written_project(tmp_path, WHOLE), server=tracing)
    assert {item.name: item.reason for item in plan.components if item.is_left_out} == {
        "Net.inner": "it is the whole model: it holds all that learns and makes the output",
        "Inner.forward:default": "it returns what it is given: nothing to take away",
    }
    assert [item.name for item in plan.components if not item.is_left_out] == [
        "Inner.body",
        "Inner.head",
    ]


DIVIDED = """
import torch
from torch import nn


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.length = nn.Parameter(torch.randn(4, 8))
        self.norm = nn.LayerNorm(8)
        self.knots = nn.Parameter(torch.linspace(1, 2, 8)).requires_grad_(False)
        self.inner, self.unused = nn.Linear(8, 8), nn.Linear(8, 8)
        self.head = nn.Linear(8, 3)

    def forward(self, x):
        length = self.length.norm()
        x = self.inner(self.norm(x) / length)
        return self.head(x.tanh() / self.knots.log2().sum()) + 0 * self.unused(x)[:, :3]


def build():
    return Net()


def inputs():
    return (torch.linspace(-1, 1, 40).reshape(5, 8),)
"""


def all_of(server: Server, folder: Path, text: str) -> Ablations:
    plan = find_components(written_project(folder, text), server=server)
    return make_ablations(plan, folder / "out", server=server)


@pytest.fixture(scope="module")
def divided(tmp_path_factory: pytest.TempPathFactory, tracing: Server) -> Ablations:
    return all_of(tracing, tmp_path_factory.mktemp("divided"), DIVIDED)


def rows(made: Ablations, name: str) -> list[tuple[str, str]]:
    return [(str(c.kind), str(c.verdict)) for c in made.certificates if c.component == name]


def test_the_next_kind_is_tried_where_one_is_refused(divided: Ablations) -> None:
    assert rows(divided, "Net.length") == [("zero", "failed"), ("mean", "certified")]
    reasons = [c.reason for c in divided.certificates if c.component == "Net.length"]
    assert reasons[0] == "the output holds infinities or NaN, the baseline's does not"
    folders = [item.folder for item in divided.variants if item.component == "Net.length"]
    assert len(set(folders)) == 2
    assert all(folders)


def test_what_is_not_trained_is_not_frozen_either(tmp_path: Path, tracing: Server) -> None:
    plan = find_components(written_project(tmp_path, DIVIDED), server=tracing)
    [knots] = [item for item in plan.plans if item.component.name == "Net.knots"]
    refused = Refused(reason="it is not trained: freezing it has no effect")
    assert knots.outcomes[AblationKind.FREEZE] == refused
    assert knots.component.kinds[-1] is AblationKind.FREEZE


def test_what_was_certified_at_once_is_not_tried_again(divided: Ablations) -> None:
    assert rows(divided, "Net.norm") == [("identity", "certified")]
    assert rows(divided, "Net.inner") == [("identity", "certified")]


def test_what_does_nothing_is_refused_in_every_kind_and_stays_listed(divided: Ablations) -> None:
    found = rows(divided, "Net.unused")
    assert [kind for kind, _ in found] == ["identity", "zero", "mean", "shuffle", "freeze"]
    assert {verdict for _, verdict in found} == {"refused"}
    [component] = [item for item in divided.components if item.name == "Net.unused"]
    assert component.ran
    assert not component.is_left_out


def test_the_variants_stand_in_the_order_of_the_components(divided: Ablations) -> None:
    order = [item.name for item in divided.components]
    places = [order.index(variant.component) for variant in divided.variants]
    assert places == sorted(places)
    pairs = zip(divided.variants, divided.certificates, strict=True)
    assert all((v.component, v.kind) == (c.component, c.kind) for v, c in pairs)


def test_kinds_that_were_asked_for_are_the_only_ones(tmp_path: Path, tracing: Server) -> None:
    plan = find_components(written_project(tmp_path, DIVIDED), server=tracing)
    made = make_ablations(plan, tmp_path / "out", server=tracing, kinds=[AblationKind.ZERO])
    assert {variant.kind for variant in made.variants} == {AblationKind.ZERO}


IDLE = """
import torch
from torch import nn
from torch.nn import functional as F


class Join(nn.Module):
    def __init__(self):
        super().__init__()
        self.weight = nn.Parameter(torch.empty(8, 8))
        nn.init.kaiming_uniform_(self.weight)

    def forward(self, x):
        x = F.dropout(x, p=0.0, training=self.training)
        return torch.cat([part @ self.weight for part in x.chunk(1)])


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.drop, self.same = nn.Dropout(0.0), nn.Identity()
        self.layers = nn.ModuleList([])
        for _ in range(2):
            self.layers.append(nn.ModuleList([None, Join()]))
        self.flat, self.head = nn.Flatten(), nn.Linear(16, 3)

    def forward(self, x):
        x = self.same(self.drop(x))
        for _, layer in self.layers:
            x = layer(x) + x
        return self.head(self.flat(x.reshape(4, 2, 8)))


def build():
    return Net()


def inputs():
    return (torch.linspace(-1, 1, 64).reshape(8, 8),)
"""


@pytest.fixture(scope="module")
def idle(tmp_path_factory: pytest.TempPathFactory, tracing: Server) -> tuple[Component, ...]:
    folder = tmp_path_factory.mktemp("idle")
    return find_components(written_project(folder, IDLE), server=tracing).components


def test_what_has_nothing_to_take_away_is_left_out_with_its_reason(
    idle: tuple[Component, ...],
) -> None:
    found = {item.name: item.reason for item in idle if item.is_left_out}
    assert found == {
        "Net.drop": "dropout with probability 0: it changes nothing",
        "Net.same": "already an identity: nothing to take away",
        "Net.flat": "only moves values to another shape: nothing to take away",
        "Join.forward:F.dropout": "dropout with probability 0: it changes nothing",
        "Join.forward:cat[last]": "its list holds one tensor: nothing is joined",
        "Join.__init__:nn.init.kaiming_uniform_ self.weight": (
            "without it layers.0.1.weight would hold whatever the memory holds"
        ),
    }


def test_what_is_left_out_is_told_apart_from_the_components(idle: tuple[Component, ...]) -> None:
    told = _plain_components(idle)
    assert not {"Net.drop", "Net.flat"} & {item["name"] for item in told["components"]}
    assert {"Net.drop", "Net.flat"} <= {item["name"] for item in told["left_out"]}
    assert len(told["components"]) + len(told["left_out"]) == len(idle)


def test_a_component_by_a_second_name_is_counted_once(tmp_path: Path, tracing: Server) -> None:
    parts = "{'x': x, 'weight': self.weight}"
    text = IDLE.replace("torch.cat([part @ self.weight for part in x.chunk(1)])", parts)
    text = text.replace("x = layer(x) + x", "x = torch.matmul(*layer(x).values())")
    made = all_of(tracing, tmp_path, text)
    reasons = {item.name: item.reason for item in made.components if item.is_left_out}
    assert reasons["Net.layers[*][1] (all)"] == "the same edit as Net.layers[*] (all) shrink"
    assert rows(made, "Net.layers[*] (all)") == [("shrink", "certified")]


SHAPES = """
import torch
from torch import nn


def default(value, other):
    return value if value is not None else other


class Counts(nn.Module):
    def forward(self, x):
        return torch.cat([torch.nn.functional.one_hot(c % 3, 3) for c in x.T], -1)


class Reader(nn.Module):
    def forward(self, x, context=None):
        return default(context, x)


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.blocks = nn.ModuleList([nn.Sequential(nn.Linear(8, 8), nn.ReLU()) for _ in range(2)])
        self.counts, self.first, self.second = Counts(), nn.Linear(6, 8), nn.Linear(8, 3)
        self.last = nn.Linear(self.blocks[-1][0].weight.shape[0], 3)
        self.reader = Reader()

    def forward(self, x):
        x = self.first(self.counts(x).float())
        for block in self.blocks:
            x = block(x)
        seen = self.reader(self.reader(x), torch.cat([x, x], 1)[:, :8])
        y = self.second(x)
        y.add_(x.mean(-1, keepdim=True))
        pairs = y[:, :, None] - seen[:, None, :3]
        return self.last(x) + pairs.square().mean(-1)


def build():
    return Net()


def inputs():
    return (torch.arange(12).reshape(6, 2),)
"""


@pytest.fixture(scope="module")
def shapes(tmp_path_factory: pytest.TempPathFactory, tracing: Server) -> tuple[Ablations, Path]:
    folder = tmp_path_factory.mktemp("shapes")
    return all_of(tracing, folder, SHAPES), folder / "out"


def change(shapes: tuple[Ablations, Path], name: str) -> str:
    """The added lines of the one variant of a component, which is certified."""
    made, out = shapes
    [(variant, certificate)] = [
        pair
        for pair in zip(made.variants, made.certificates, strict=True)
        if pair[0].component == name
    ]
    assert certificate.verdict is CertificateVerdict.CERTIFIED, certificate.reason
    lines = (out / variant.folder / "change.diff").read_text().splitlines()
    return "\n".join(line[1:] for line in lines if line[:1] == "+" and line[:3] != "+++")


def test_a_layer_that_is_read_by_an_index_stays_and_is_passed_by(
    shapes: tuple[Ablations, Path],
) -> None:
    assert "bypassed(self.blocks[1])" in change(shapes, "Net.blocks[1]")


def test_whole_numbers_are_not_averaged(shapes: tuple[Ablations, Path]) -> None:
    made, _ = shapes
    assert rows(made, "Net.counts") == [("zero", "refused"), ("shuffle", "certified")]


def test_the_last_of_a_list_that_is_made_in_place_is_cut(shapes: tuple[Ablations, Path]) -> None:
    assert "torch.cat(without_last([torch" in change(shapes, "Counts.forward:cat[last]")


def test_an_operand_that_is_spread_gives_way_to_zeros(shapes: tuple[Ablations, Path]) -> None:
    made, _ = shapes
    names = [item.name for item in made.components if item.kind == "sum"]
    cuts = [change(shapes, name).strip() for name in names if " - " in name]
    assert cuts == [
        "pairs = torch.zeros_like(y[:, :, None]) - seen[:, None, :3]",
        "pairs = y[:, :, None] - torch.zeros_like(seen[:, None, :3])",
    ]


def test_what_is_written_to_in_place_does_not_give_way(shapes: tuple[Ablations, Path]) -> None:
    made, _ = shapes
    found = {c.component: c.reason for c in made.certificates if "y of y + x.mean" in c.component}
    assert found == {
        "Net.forward:y of y + x.mean": "what would remain has shape (6, 1), not (6, 3)"
    }


def test_a_choice_between_an_argument_and_none_is_no_function_to_pass_by(
    shapes: tuple[Ablations, Path],
) -> None:
    made, _ = shapes
    assert not [item.name for item in made.components if "default" in item.name]


def test_weights_that_are_drawn_tiny_are_randomised_to_the_usual_spread() -> None:
    given = {
        "tiny": np.random.default_rng(0).normal(0, 1e-3, (64, 16)).astype(np.float32),
        "wide": np.random.default_rng(0).normal(0, 2.0, (64, 16)).astype(np.float32),
    }
    found = randomised(given, {name: [name] for name in given})
    assert found["tiny"].std() == pytest.approx(0.5 / 4, rel=0.1)
    assert found["wide"].std() == pytest.approx(2.0, rel=0.1)


ALONE = """
import torch
from torch import nn


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.inner = nn.Linear(8, 8)

    def forward(self, x):
        return torch.tanh(self.inner(x)) + x


def build():
    return Net()


def inputs():
    return (torch.linspace(-1, 1, 64).reshape(8, 8),)
"""


def test_all_that_learns_is_not_frozen(tmp_path: Path, tracing: Server) -> None:
    plan = find_components(written_project(tmp_path, ALONE), server=tracing)
    [inner] = [item for item in plan.plans if item.component.name == "Net.inner"]
    refused = inner.outcomes[AblationKind.FREEZE]
    assert isinstance(refused, Refused)
    assert refused.reason == "no parameter would be left to train"
