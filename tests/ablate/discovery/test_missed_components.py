"""Parts of a model that a researcher cuts beside layers: calls, masks, initialisation, ties.

Each row is generated, certified, and run beside a reference written by hand.
"""

from __future__ import annotations

import importlib.util
import shutil
import sys
from collections.abc import Callable, Collection
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from antifragile.ablate.certify.certificate import certify
from antifragile.ablate.generation.generate import generate
from antifragile.ablate.pipeline import find_components
from antifragile.ablate.records import (
    AblationPlan,
    Certificate,
    CertificateVerdict,
    Component,
    Variant,
)
from antifragile.ablate.sandbox.job import Job, Outcome
from antifragile.ablate.sandbox.server import Server
from antifragile.ablate.study.child.run import RunArguments, run_job
from tests.ablate.model_projects import part_of, written_project

Reference = Callable[[Any, Tensor, str], Tensor]  # model, input, name of the part that is left out

CALLS = """
import torch
import torch.nn.functional as F
from torch import nn


def rotate_half(x):
    one, two = x.chunk(2, -1)
    return torch.cat([-two, one], -1)


def apply_rotary_pos_emb(q, k, cos, sin):
    q_turned = q * cos + rotate_half(q) * sin
    k_turned = k * cos + rotate_half(k) * sin
    return q_turned, k_turned


def modulate(x, scale):
    return x * scale


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.q, self.k, self.v = nn.Linear(8, 8), nn.Linear(8, 8), nn.Linear(8, 8)
        self.scale = nn.Linear(8, 8)

    def forward(self, x):
        x = torch.roll(x, 2, dims=1)
        q, k = F.normalize(self.q(x), dim=-1), self.k(x).flip(1)
        angle = torch.arange(5.0)[:, None] / 2 ** torch.arange(8.0)
        q, k = apply_rotary_pos_emb(q, k, angle.cos(), angle.sin())
        seen = torch.tril(torch.ones(5, 5))
        hidden = torch.triu(torch.full((5, 5), -1.0))
        scores = (q @ k.transpose(1, 2)).masked_fill(seen == 0, -1e4) + hidden
        y = scores.softmax(-1) @ self.v(x)
        y = modulate(y, self.scale(x))
        y = torch.clamp(y, -0.1, 0.2)
        y = torch.where(y > 0, y, 0.1 * y)
        return y.cumsum(1).abs()


def build():
    return Net()


def inputs():
    return (torch.randn(3, 5, 8),)
"""


def calls(model: Any, x: Tensor, without: str) -> Tensor:
    """The same forward, a part of it left out."""

    def rotated(x: Tensor) -> Tensor:
        one, two = x.chunk(2, -1)
        angle = torch.arange(5.0)[:, None] / 2 ** torch.arange(8.0)
        return x * angle.cos() + torch.cat([-two, one], -1) * angle.sin()

    x = x if without == "torch.roll" else x.roll(2, 1)
    q, k = model.q(x), model.k(x)
    q = q if without == "F.normalize" else nn.functional.normalize(q, dim=-1)
    k = k if without == "self.k.flip" else k.flip(1)
    if without != "apply_rotary_pos_emb":
        q, k = rotated(q), rotated(k)
    scores = q @ k.transpose(1, 2)
    is_ahead = torch.ones(5, 5).triu(1) == 1
    if without not in ("(q @ k.transpose).masked_fill", "torch.tril"):
        scores = scores.masked_fill(is_ahead, -1e4)
    scores = scores if without == "torch.triu" else scores + torch.full((5, 5), -1.0).triu()
    y = scores.softmax(-1) @ model.v(x)
    y = y if without == "modulate" else y * model.scale(x)
    y = y if without == "torch.clamp" else y.clamp(-0.1, 0.2)
    if without == "torch.where keeping (0.1 * y)":
        y = 0.1 * y
    elif without != "torch.where keeping y":
        y = torch.where(y > 0, y, 0.1 * y)
    y = y if without == "y.cumsum" else y.cumsum(1)
    return y if without == "y.cumsum.abs" else y.abs()


CALL_ROWS = (
    *("torch.roll", "F.normalize", "self.k.flip", "apply_rotary_pos_emb", "torch.tril"),
    *("torch.triu", "(q @ k.transpose).masked_fill", "modulate", "torch.clamp"),
    *("torch.where keeping y", "torch.where keeping (0.1 * y)", "y.cumsum", "y.cumsum.abs"),
)


class Bench:
    """Plans, variants and certificates of models given as text."""

    def __init__(self, folder: Path, server: Server) -> None:
        self.folder, self.server = folder, server

    def plan(self, text: str, **options: Any) -> AblationPlan:
        """Write a model and plan its ablations."""
        source = self.folder / "source"
        source.mkdir(exist_ok=True)
        return find_components(written_project(source, text), server=self.server, **options)

    def certified(
        self, text: str, names: Collection[str] | None = None
    ) -> dict[str, tuple[Variant, Certificate]]:
        """Certify the default variants of some components, or of all."""
        plan = self.plan(text)
        chosen = {item.name for item in plan.components} if names is None else names
        variants = generate(part_of(plan, chosen), self.folder / "out")
        found = certify(
            plan.project, self.folder / "out", variants, server=self.server, cold_imports=0
        )
        return {variant.component: (variant, c) for variant, c in zip(variants, found, strict=True)}

    def imported(self, folder: str) -> Any:
        """Import the file of a variant, or of the baseline."""
        path = self.folder / "out" / folder / "model.py"
        name = f"probed_{abs(hash(path))}"
        spec = importlib.util.spec_from_file_location(name, path)
        assert spec is not None
        assert spec.loader is not None
        module = importlib.util.module_from_spec(spec)
        sys.modules[name] = module
        try:
            spec.loader.exec_module(module)
        finally:
            del sys.modules[name]
        return module

    def check(self, variant: Variant, reference: Reference, without: str) -> None:
        """Compare a variant in both modes with the reference, whose own baseline is right too."""
        for folder, left_out in (("baseline", ""), (variant.folder, without)):
            torch.manual_seed(0)
            module = self.imported(folder)
            model, (x,) = module.build(), module.inputs()
            for mode in (model.eval(), model.train()):
                torch.testing.assert_close(mode(x.clone()), reference(mode, x.clone(), left_out))


@pytest.fixture
def bench(tmp_path: Path, tracing: Server) -> Bench:
    return Bench(tmp_path, tracing)


def rows(plan: AblationPlan) -> dict[str, Component]:
    return {item.name: item for item in plan.components}


def is_certified(certificate: Certificate) -> bool:
    return certificate.verdict is CertificateVerdict.CERTIFIED


def test_calls_of_a_forward_are_cut_as_they_say(bench: Bench) -> None:
    found = bench.certified(CALLS, [f"Net.forward:{name}" for name in CALL_ROWS])
    assert set(found) == {f"Net.forward:{name}" for name in CALL_ROWS}
    for name in CALL_ROWS:
        variant, certificate = found[f"Net.forward:{name}"]
        assert is_certified(certificate), (name, certificate.reason)
        bench.check(variant, calls, name)


def test_a_rotary_embedding_is_one_component(bench: Bench) -> None:
    names = list(rows(bench.plan(CALLS)))
    assert "Net.forward:apply_rotary_pos_emb" in names
    assert [name for name in names if name.startswith(("apply_rotary", "rotate_half"))] == []
    assert any(name.startswith("modulate:") for name in names)


BUILT = """
import math
import torch
from torch import nn


class Cell(nn.Module):
    def __init__(self):
        super().__init__()
        self.mix = nn.Parameter(torch.empty(8, 8))
        nn.init.xavier_uniform_(self.mix)
        self.up = nn.Linear(8, 32)
        nn.init.orthogonal_(self.up.weight)
        self.same = nn.Linear(32, 32)
        nn.init.kaiming_uniform_(self.same.weight, a=math.sqrt(5))
        self.twice = nn.Linear(32, 8)
        nn.init.zeros_(self.twice.weight)
        self.twice.weight.data.normal_(std=3.0)

    def forward(self, x):
        return self.twice(self.same(self.up(x @ self.mix)))


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.emb = nn.Embedding(20, 8)
        self.cells = nn.ModuleList([Cell(), Cell()])
        self.norm = nn.LayerNorm(8)
        self.mid = nn.Linear(8, 8)
        self.head = nn.Linear(8, 20, bias=False)
        self.head.weight = self.emb.weight
        self.mid.apply(self.start)

    def start(self, module):
        if isinstance(module, nn.Linear):
            nn.init.normal_(module.weight, std=0.02)
            nn.init.zeros_(module.bias)

    def forward(self, ids):
        x = self.emb(ids)
        for cell in self.cells:
            x = x + cell(x)
        return self.head(self.mid(self.norm(x)))


def build():
    return Net()


def inputs():
    return (torch.arange(20).reshape(4, 5),)
"""
MEASURE = """
import torch


def train(build_model, *, seed, data_order_seed):
    model = build_model()
    up = model.cells[0].up.weight
    return {
        "gram": float((up.T @ up - torch.eye(8)).abs().max()),
        "embedding": float(model.emb.weight.sum()),
        "head": float(model.head.weight.sum()),
    }
"""
START = "Net.start:nn.init"


def test_initialisations_are_cut_where_they_can_be_told(bench: Bench) -> None:
    plan = bench.plan(BUILT)
    found = {item.name: item for item in plan.components if item.kind == "initialisation"}
    reasons = {name: item.reason for name, item in found.items() if item.reason}
    assert reasons == {
        "Cell.__init__:nn.init.xavier_uniform_ self.mix": (
            "without it cells.0.mix would hold whatever the memory holds"
        ),
    }
    certified = bench.certified(BUILT, found)
    assert {name: certified[name][0].own_values for name in found if name not in reasons} == {
        "Cell.__init__:nn.init.orthogonal_ self.up.weight": (
            "cells.0.up.weight",
            "cells.1.up.weight",
        ),
        "Cell.__init__:self.twice.weight.data.normal_": (
            "cells.0.twice.weight",
            "cells.1.twice.weight",
        ),
        "Net.__init__:self.mid.apply self.start": ("mid.weight", "mid.bias"),
        f"{START}.normal_ module.weight": ("mid.weight",),
        f"{START}.zeros_ module.bias": ("mid.bias",),
    }
    for variant, certificate in certified.values():
        assert is_certified(certificate), (variant.component, certificate.reason)
        assert (
            variant.diff_lines == 1
            or "pass" in (bench.folder / "out" / variant.folder / "change.diff").read_text()
        )


def test_tied_weights_are_untied(bench: Bench) -> None:
    name = "Net.__init__:self.head.weight = self.emb.weight"
    [(variant, certificate)] = bench.certified(BUILT, [name]).values()
    assert is_certified(certificate)
    assert (variant.parameter_delta, variant.own_values) == (160, ("head.weight",))
    model = bench.imported(variant.folder).build()
    assert model.head.weight is not model.emb.weight


def test_a_run_starts_from_what_an_ablated_initialisation_leaves(bench: Bench) -> None:
    names = [
        "Cell.__init__:nn.init.orthogonal_ self.up.weight",
        "Net.__init__:self.head.weight = self.emb.weight",
    ]
    variants = [variant for variant, _ in bench.certified(BUILT, names).values()]
    experiment = bench.folder / "measure.py"
    experiment.write_text(MEASURE)
    project, out = bench.plan(BUILT).project, bench.folder / "out"

    def run(folder: str, own_values: tuple[str, ...], trained: str | None = None) -> Outcome:
        scratch = bench.folder / "scratch"
        shutil.rmtree(scratch, ignore_errors=True)
        scratch.mkdir()
        arguments = RunArguments(
            project=asdict(project),
            framework="torch",
            folder=str(out / folder),
            baseline=() if folder == "baseline" else (str(out / "baseline"),),
            experiment={"file": str(experiment), "function": "train", "files": {}},
            seeds=dict.fromkeys(("seed", "init", "stream", "order"), 3),
            scratch=str(scratch),
            own_values=own_values,
            trained=trained,
        )
        paths, words = (str(out / folder),), {"run": asdict(arguments)}
        job = Job(target=run_job, folder=str(bench.folder), paths=paths, arguments=words)
        return bench.server.run_one(job)

    def measured(folder: str, own_values: tuple[str, ...]) -> dict[str, float]:
        outcome = run(folder, own_values)
        assert outcome.failure is None, outcome.reason
        return dict(outcome.value)

    before = measured("baseline", ())
    plain, untied = (measured(variant.folder, variant.own_values) for variant in variants)
    assert before["gram"] < 1e-5
    assert plain["gram"] > 0.1
    assert plain["embedding"] == untied["embedding"] == before["embedding"] == before["head"]
    assert untied["head"] != untied["embedding"]
    post_hoc = run(variants[0].folder, variants[0].own_values, trained="kept.safetensors")
    assert "which a trained model no longer has: retrain it" in post_hoc.reason


LIBRARY = """
import torch
from torch import nn
from torch.nn.functional import scaled_dot_product_attention


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        layer = nn.TransformerEncoderLayer(8, 2, 16, batch_first=True)
        self.encoder = nn.TransformerEncoder(layer, 2)
        self.attend = nn.MultiheadAttention(8, 2, 0.3, batch_first=True)

    def forward(self, x):
        mask = nn.Transformer.generate_square_subsequent_mask(5)
        x = self.encoder(x, mask=mask, is_causal=True)
        y, _ = self.attend(x, x, x, need_weights=False, attn_mask=mask)
        q = y.unsqueeze(1)
        return scaled_dot_product_attention(q, q, q, is_causal=True).squeeze(1)


def build():
    return Net()


def inputs():
    return (torch.randn(3, 5, 8),)
"""
LAYER = "Net.__init__:nn.TransformerEncoderLayer"
LAYER_ROWS = {
    "norm1": "norm1",
    "norm2": "norm2",
    "self-attention": "attention",
    "feed-forward": "feed-forward",
    "activation": "activation",
}
MASK_ROWS = {
    "self.encoder mask": "encoder mask",
    "self.attend attn_mask": "attention mask",
    "scaled_dot_product_attention is_causal": "causal",
}


def library(model: Any, x: Tensor, without: str) -> Tensor:
    """The forward in evaluation mode, every layer written out."""
    hidden = torch.full((5, 5), float("-inf")).triu(1)
    for layer in model.encoder.layers:
        mask = None if without == "encoder mask" else hidden
        if without != "attention":
            x = x + layer.self_attn(x, x, x, attn_mask=mask)[0]
        x = x if without == "norm1" else nn.functional.layer_norm(x, (8,))
        if without != "feed-forward":
            inner = layer.linear1(x)
            x = x + layer.linear2(inner if without == "activation" else inner.relu())
        x = x if without == "norm2" else nn.functional.layer_norm(x, (8,))
    mask = None if without == "attention mask" else hidden
    y = model.attend(x, x, x, attn_mask=mask)[0]
    scores = y @ y.transpose(1, 2) / 8**0.5
    return (scores if without == "causal" else scores + hidden).softmax(-1) @ y


@pytest.mark.filterwarnings("ignore:enable_nested_tensor is True")  # torch: a layer without fusing
def test_parts_of_library_layers_are_cut_in_both_modes(bench: Bench) -> None:
    names = {f"{LAYER} {part}": word for part, word in LAYER_ROWS.items()}
    names |= {f"Net.forward:{title}": word for title, word in MASK_ROWS.items()}
    dropouts = (f"{LAYER} dropout", "Net.attend dropout")
    found = bench.certified(LIBRARY, [*names, *dropouts])
    assert set(found) == {*names, *dropouts}
    for name, (variant, certificate) in found.items():
        assert is_certified(certificate), (name, certificate.reason)
        assert variant.parameter_delta == 0
    for name in dropouts:
        assert found[name][1].reason == "legal, and changes the output in training mode"
    for name, without in names.items():
        variant, _ = found[name]
        for folder, left_out in (("baseline", ""), (variant.folder, without)):
            module = bench.imported(folder)
            model, (x,) = module.build().eval(), module.inputs()
            expected = library(model, x, left_out)
            with torch.no_grad():  # the fused kernel runs where no gradient is asked for
                torch.testing.assert_close(model(x), expected, rtol=1e-4, atol=1e-5)


LABELLED = """
import torch
import torch.nn.functional as F
from torch import nn


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.kinds, self.head = nn.Embedding(3, 4), nn.Linear(4, 2)

    def forward(self, x, kind, labels=None, weight=None):
        y = self.head(x + self.kinds(kind))
        if labels is None:
            return y
        loss = F.cross_entropy(y, labels.view(-1), reduction="none")
        return y, F.l1_loss(loss, weight)


def build():
    return Net()


def inputs():
    return torch.randn(4, 4), torch.arange(4) % 3, torch.arange(4) % 2, torch.rand(4)
"""


def test_inputs_are_components_when_asked_for_and_labels_never(bench: Bench) -> None:
    plan = bench.plan(LABELLED)
    assert [item.name for item in plan.components if item.kind == "input"] == []
    features = [f"input:x[{number}]" for number in range(4)]
    asked = bench.plan(LABELLED, inputs_as_components=True)
    names = [item.name for item in asked.components if item.kind == "input"]
    assert names == ["input:x", *features, "input:kind"]
    grouped = bench.plan(LABELLED, groups={"left": "x[0:2]"})
    assert "input:left" in [item.name for item in grouped.components]


FLAGS = """
from dataclasses import dataclass

import torch
from torch import nn


@dataclass
class Config:
    width: int = 8
    use_gate: bool = True
    unread: bool = True


class Block(nn.Module):
    def __init__(self, width, bias=True, *, dropout=0.4, is_residual=True, given=True):
        super().__init__()
        self.layer = nn.Linear(width, width, bias=bias)
        self.dropout, self.is_residual, self.given = nn.Dropout(dropout), is_residual, given

    def forward(self, x):
        y = self.dropout(self.layer(x))
        y = y if self.given else y.tanh()
        return x + y if self.is_residual else y


class Net(nn.Module):
    def __init__(self, config, double=False):
        super().__init__()
        self.block = Block(config.width, given=True)
        self.gate = nn.Linear(8, 8) if config.use_gate else None
        self.double = double

    def forward(self, x):
        x = self.block(x)
        if self.gate is not None:
            x = x * self.gate(x).sigmoid()
        return 2 * x if self.double else x


def build():
    return Net(Config(), double=True)


def inputs():
    return (torch.randn(3, 8),)
"""


def flags(model: Any, x: Tensor, without: str) -> Tensor:
    """The forward in evaluation mode with an option switched off."""
    weight, bias = model.block.layer.weight, model.block.layer.bias
    y = nn.functional.linear(x, weight, None if without == "bias" else bias)
    y = y.tanh() if without == "given" else y
    x = y if without == "is_residual" else x + y
    x = x if without == "use_gate" else x * model.gate(x).sigmoid()
    return x if without == "double" else 2 * x


FLAG_ROWS = {
    "Config use_gate=True": ("use_gate", -72),
    "Block bias=True": ("bias", -8),
    "Block is_residual=True": ("is_residual", 0),
    "Net.__init__:Block given=True": ("given", 0),
    "build:Net double=True": ("double", 0),
}


def test_options_that_are_on_are_switched_off(bench: Bench) -> None:
    found = bench.certified(FLAGS)
    rows = {name: row for name, row in found.items() if row[0].kind == "disable"}
    assert set(rows) == {*FLAG_ROWS, "Block dropout=0.4"}
    for name, (variant, certificate) in rows.items():
        assert is_certified(certificate), (name, certificate.reason)
        without, delta = FLAG_ROWS.get(name, ("dropout", 0))
        assert certificate.parameter_delta == delta
        assert variant.diff_lines == 2
        module = bench.imported(variant.folder)
        model, (x,) = module.build().eval(), module.inputs()
        torch.testing.assert_close(model(x), flags(model, x, without))
        if without == "dropout":
            torch.testing.assert_close(model.train()(x), flags(model, x, without))
