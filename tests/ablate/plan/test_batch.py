"""`shuffle` goes over the batch axis and `mean` never does: the variants are run and compared."""

from __future__ import annotations

import importlib.util
from collections.abc import Mapping
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import torch
from torch import Tensor

from antifragile.ablate.generation.generate import generate
from antifragile.ablate.plan.model import plan_ablations
from antifragile.ablate.records import AblationKind, Variant
from antifragile.ablate.sandbox.server import Server
from tests.ablate.model_projects import (
    model_plan,
    model_project,
    traced,
    written_project,
)

MEAN, SHUFFLE = AblationKind.MEAN, AblationKind.SHUFFLE
NEIGHBOUR = "every sample gets what belongs to its neighbour in the batch"
RECURRENT = """
import torch
from torch import nn

class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.emb = nn.Embedding(11, 8)
        self.rnn = nn.GRU(8, 8{first})
        self.out = nn.Linear(8, 11)

    def forward(self, tokens):
        return self.out(torch.tanh(self.rnn(self.emb(tokens))[0]))

def build():
    return Net()

def inputs():
    return (torch.randint(11, ({shape}), generator=torch.Generator().manual_seed(5)),)
"""
IMAGES = """
import torch
import torch.nn.functional as F
from torch import nn

class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(3, 4, 3)
        self.norm = nn.BatchNorm2d(4)
        self.squeeze = nn.Linear(4, 4)
        self.gate = nn.Linear(4, 4)
        self.tokens = nn.Linear(4, 6)
        self.head = nn.Linear(16, 3)
        self.one = nn.Linear(16, 1)

    def forward(self, x):
        x = F.relu(self.norm(self.conv(x)))
        g = torch.sigmoid(self.gate(F.gelu(self.squeeze(x.mean(dim=(2, 3))))))
        x = x * g[:, :, None, None]
        rows = self.tokens(x.permute(0, 2, 3, 1))
        y = torch.cat([x.mean(dim=(2, 3)), rows.amax(dim=(1, 2)), rows.mean(dim=(1, 2))], dim=1)
        return self.head(y) * self.one(y)

def build():
    return Net()

def inputs():
    return (torch.randn({batch}, 3, 7, 7, generator=torch.Generator().manual_seed(6)),)
"""
TABLE = """
import torch
from torch import nn

class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.first, self.second = nn.Linear(3, 5), nn.Linear(5, 2)

    def forward(self, x):
        return self.second(torch.relu(self.first(x)))

def build():
    return Net()

def inputs():
    return (torch.arange(12.0).view(4, 3) ** 2 / 7,)
"""
MERGED = """
import torch
from torch import nn

class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.one, self.two, self.head = nn.Linear(8, 8), nn.Linear(8, 8), nn.Linear(8, 3)

    def forward(self, x):
        B, T, C = x.shape
        rows = torch.relu(self.one(x.reshape(B * T, C)))
        y = torch.tanh(self.two(rows.view(B, T, C)))
        if self.training:
            y = torch.dropout(y, 0.1, True)
        table = torch.sigmoid(self.two(torch.ones(T, C)))
        return self.head(y + table)

def build():
    return Net()

def inputs():
    return (torch.randn(4, 5, 8, generator=torch.Generator().manual_seed(7)),)
"""
MIXED = TABLE.replace("self.second(torch", "x.sum() + self.second(torch")
LOSS = TABLE.replace("self.second(torch.relu(self.first(x)))", "self.second(self.first(x)).sum()")


def written(
    folder: Path, server: Server, text: str, *kinds: AblationKind
) -> Mapping[tuple[str, AblationKind], Variant]:
    """The variants of a model by component and kind, generated beside it."""
    project = written_project(folder, text)
    plan = plan_ablations(project, traced(server, project), inputs_as_components=True)
    variants = generate(plan, folder / "out", kinds)
    return {(variant.component, variant.kind): variant for variant in variants}


def loaded(folder: Path, name: str, file: str = "model.py") -> ModuleType:
    """The module of the baseline or of a variant."""
    path = folder / "out" / name / file
    spec = importlib.util.spec_from_file_location(f"loaded_{abs(hash(str(path)))}", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def evaluated(module: ModuleType, *inputs: Tensor) -> Any:
    torch.manual_seed(3)
    with torch.no_grad():
        output = module.build().eval()(*inputs)
    return output[0] if isinstance(output, tuple) else output


def added(folder: Path, variant: Variant) -> list[str]:
    """The lines that a variant adds, helpers left out."""
    lines = (folder / "out" / variant.folder / "change.diff").read_text().splitlines()
    return [line[1:].strip() for line in lines if line.startswith("+        ")]


@pytest.mark.parametrize(
    ("first", "shape", "batch", "time"),
    [("", "7, 3", 1, 0), ("", "4, 4", 1, 0), (", batch_first=True", "3, 7", 0, 1)],
)
def test_samples_are_shuffled_and_positions_averaged(
    tmp_path: Path, tracing: Server, first: str, shape: str, batch: int, time: int
) -> None:
    text = RECURRENT.format(first=first, shape=shape)
    variants = written(tmp_path, tracing, text, MEAN, SHUFFLE)
    base = loaded(tmp_path, "baseline")
    [ids] = base.inputs()
    torch.manual_seed(3)
    net = base.build().eval()

    def by_hand(change: Any) -> tuple[Tensor, Tensor]:
        """The output where the embedding, or where tanh, is changed."""
        with torch.no_grad():
            emb = net.out(torch.tanh(net.rnn(change(net.emb(ids)))[0]))
            return emb, net.out(change(torch.tanh(net.rnn(net.emb(ids))[0])))

    made = {
        SHUFFLE: by_hand(lambda x: x.roll(1, batch)),
        MEAN: by_hand(lambda x: x.mean(dim=time, keepdim=True).expand_as(x)),
    }
    words = {
        SHUFFLE: NEIGHBOUR,
        MEAN: f"its mean over positions (axis {time}), later ones included, for each sample",
    }
    for kind, expected in made.items():
        for name, output in zip(("Net.emb", "Net.forward:torch.tanh"), expected, strict=True):
            variant = variants[name, kind]
            assert variant.substitute == words[kind]
            assert torch.equal(evaluated(loaded(tmp_path, variant.folder), ids), output)
    assert variants["input:tokens", MEAN].refusal == "the mean of whole numbers is none"


@pytest.mark.parametrize("batch", [1, 4])
def test_channels_of_images_are_averaged_over_their_positions(
    tmp_path: Path, tracing: Server, batch: int
) -> None:
    variants = written(tmp_path, tracing, IMAGES.format(batch=batch), MEAN, SHUFFLE)
    for_each = ", for each sample"
    said = {
        "Net.conv": f"its mean over positions (axes 2, 3){for_each}",
        "Net.norm": f"its mean over positions (axes 2, 3){for_each}",
        "Net.tokens": f"its mean over positions (axes 1, 2){for_each}",  # a linear layer
        "Net.squeeze": f"its mean over features (axis 1){for_each}",
        "Net.forward:F.relu": f"its mean over positions (axes 2, 3){for_each}",
        "Net.forward:F.gelu": f"its mean over features (axis 1){for_each}",
        "Net.forward:x * g": f"its mean over axis 1 (taken to be features){for_each}",
        "Net.forward:cat[rows.amax]": f"its mean over features (axis 1){for_each}",
        "input:x": f"its mean over axes 2, 3 (taken to be positions){for_each}",
    }
    assert {name: variants[name, MEAN].substitute for name in said} == said
    reason = "it is one number for each sample: its mean is itself"
    assert variants["Net.one", MEAN].refusal == reason
    shuffled = {name: variants[name, SHUFFLE].refusal for name in said}
    reason = "the inputs hold one sample; mixing samples needs two"
    assert set(shuffled.values()) == {None if batch > 1 else reason}


def test_a_feature_becomes_its_mean_over_the_given_inputs(tmp_path: Path, tracing: Server) -> None:
    project = written_project(tmp_path, TABLE)
    plan = plan_ablations(project, traced(tracing, project), groups={"sizes": "x[0:2]"})
    made = generate(plan, tmp_path / "out", [MEAN])
    variants = {variant.component: variant for variant in made}
    one, group = variants["input:x[1]"], variants["input:sizes"]
    assert added(tmp_path, one) == ["x = x.clone()", "x[:, 1] = 5.92857"]
    assert one.substitute == "its mean over the given inputs, 5.92857"
    assert added(tmp_path, group)[1] == "x[:, 0:2] = x.new_tensor([4.5, 5.92857])"
    base = loaded(tmp_path, "baseline")
    [x] = base.inputs()
    x[:, :2] = torch.tensor([4.5, 5.92857])
    assert torch.equal(
        evaluated(loaded(tmp_path, group.folder), *base.inputs()), evaluated(base, x)
    )


def test_merged_samples_are_refused(tmp_path: Path, tracing: Server) -> None:
    variants = written(tmp_path, tracing, MERGED, MEAN, SHUFFLE)
    reason = "samples lie along no axis of their own there, or not the same each time"
    for name in ("Net.one", "Net.forward:torch.relu", "Net.two", "Net.forward:torch.dropout"):
        assert [variants[name, kind].refusal for kind in (MEAN, SHUFFLE)] == [reason, reason]
    tanh, table = "Net.forward:torch.tanh", "Net.forward:torch.sigmoid"
    assert [variants[tanh, kind].refusal for kind in (MEAN, SHUFFLE)] == [None, None]
    assert (
        variants[table, MEAN].substitute == "its mean over positions (axis 0), later ones included"
    )
    assert variants[table, SHUFFLE].refusal == (
        "it holds nothing of single samples: no axis is the batch"
    )


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        (MIXED, "with other samples beside it, a sample gets another output, along every axis"),
        (LOSS, "no output has an axis for the samples"),
    ],
)
def test_without_a_batch_axis_both_are_refused(
    tmp_path: Path, tracing: Server, text: str, reason: str
) -> None:
    variants = written(tmp_path, tracing, text, MEAN, SHUFFLE, AblationKind.IDENTITY)
    for kind in (MEAN, SHUFFLE):
        for name in ("Net.first", "input:x"):
            refusal = variants[name, kind].refusal
            assert refusal is not None
            assert refusal.startswith(f"no batch axis was found: {reason}")


def alone(inputs: tuple[Tensor, ...], axis: int, sample: int) -> list[Tensor]:
    return [item.narrow(axis, sample, 1) for item in inputs]


def check_each_mean(folder: Path, file: str, variants: Mapping[str, Variant], axis: int) -> int:
    """Compare each variant's outputs alone and in the batch, and with the baseline's; the count."""
    base, count = loaded(folder, "baseline", file), 0
    inputs = base.inputs()
    for variant in variants.values():
        if variant.refusal is not None:
            continue
        module = loaded(folder, variant.folder, file)
        together = evaluated(module, *inputs)
        before = evaluated(base, *alone(inputs, axis, 1))
        single = evaluated(module, *alone(inputs, axis, 1))
        torch.testing.assert_close(single, together.narrow(axis, 1, 1))
        assert (single - before).abs().max() > 1e-4 * before.abs().max(), variant.component
        count += 1
    return count


@pytest.mark.parametrize(
    ("text", "axis", "count"),
    [
        (RECURRENT.format(first="", shape="7, 3"), 1, 2),
        (RECURRENT.format(first=", batch_first=True", shape="3, 7"), 0, 2),
        (IMAGES.format(batch=3), 0, 14),
        (TABLE, 0, 6),
    ],
)
def test_a_mean_is_that_of_one_sample(
    tmp_path: Path, tracing: Server, text: str, axis: int, count: int
) -> None:
    variants = written(tmp_path, tracing, text, MEAN)
    named = {name: variant for (name, _), variant in variants.items()}
    assert check_each_mean(tmp_path, "model.py", named, axis) >= count


@pytest.mark.parametrize(("model", "count"), [("attention", 5), ("two_inputs", 5), ("gates", 5)])
def test_a_mean_of_a_test_model_is_that_of_one_sample(
    tmp_path: Path, tracing: Server, model: str, count: int
) -> None:
    [source] = model_project(model).sources[:1]
    made = generate(model_plan(tracing, model), tmp_path / "out", [MEAN])
    named = {variant.component: variant for variant in made}
    assert check_each_mean(tmp_path, source, named, 0) >= count
