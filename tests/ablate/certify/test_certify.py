"""A certificate says "changed" only where the cut alone explains it, else names what is wrong."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from antifragile.ablate.certify.certificate import ModelError, open_server
from antifragile.ablate.records import AblationKind, Certificate, CertificateVerdict
from antifragile.ablate.sandbox.job import Limits
from antifragile.ablate.sandbox.server import Server
from tests.ablate.certify.hand_cut_variants import INPUTS, Bench, Cut

MODEL = """
import torch
from torch import nn


class Model(nn.Module):
    def __init__(self):
        super().__init__()
        self.first = nn.Linear(8, 8)
        self.never = nn.Linear(8, 8)
        self.dropout = nn.Dropout(0.3)
        self.branch = nn.Linear(8, 8)
        self.hidden = [nn.Linear(8, 8), nn.Linear(8, 8)]
        self.late_dropout = nn.Dropout(0.3)
        self.gamma = nn.Parameter(torch.zeros(8))
        self.last = nn.Linear(8, 4)

    def forward(self, x):
        x = self.first(x)
        unused = torch.rand(3)
        x = self.dropout(x)
        x = x + self.gamma * torch.tanh(self.branch(x))
        for layer in self.hidden:
            x = torch.relu(layer(x))
        x = self.late_dropout(x)
        x = x * 1.0
        return self.last(x), {"features": x}


def build():
    return Model()
"""
FIRST = ("first.weight", "first.bias")
BRANCH = ("gamma", "branch.weight", "branch.bias")


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    with open_server(workers=2, limits=Limits(timeout_s=30)) as running:
        yield running


@pytest.fixture
def bench(tmp_path: Path, server: Server) -> Bench:
    return Bench(folder=tmp_path, server=server)


@pytest.fixture(scope="module")
def certificates(
    tmp_path_factory: pytest.TempPathFactory, server: Server
) -> dict[str, Certificate]:
    """Certificates of all the cuts below, made together."""
    bench = Bench(folder=tmp_path_factory.mktemp("cuts"), server=server)
    return dict(zip(CUTS, bench.certify(MODEL, *CUTS.values(), cold_imports=3), strict=True))


CUTS = {
    "nothing": Cut(old="x", new="x"),
    "layer": Cut(old="x = self.first(x)", new="x = x", cut_parameters=FIRST),
    "never called": Cut(
        old="self.never = nn.Linear(8, 8)",
        new="self.never = nn.Identity()",
        cut_parameters=("never.weight", "never.bias"),
        parameter_delta=-72,
    ),
    "unused draw": Cut(old="unused = torch.rand(3)", new="pass"),
    "dropout": Cut(old="x = self.dropout(x)", new="pass"),
    "zero branch": Cut(
        old="x = x + self.gamma * torch.tanh(self.branch(x))", new="x = x", cut_parameters=BRANCH
    ),
    "activation": Cut(old="torch.relu(layer(x))", new="layer(x)"),
    "times one": Cut(old="x = x * 1.0", new="pass"),
    "rounding": Cut(old="x = x * 1.0", new="x = x * 3.0 / 3.0"),
    "wider": Cut(old="nn.Linear(8, 4)", new="nn.Linear(8, 5)", parameter_delta=9),
    "other structure": Cut(old='{"features": x}', new="x"),
    "not a number": Cut(old="self.first(x)", new="self.first(x) / 0.0"),
    "wrong prediction": Cut(
        old="x = self.first(x)", new="x = x", cut_parameters=FIRST, parameter_delta=-1
    ),
    "vanished": Cut(old="self.first", new="self.other", cut_parameters=()),
    "raises": Cut(old="x = self.first(x)", new="raise ValueError('no')"),
    "needs us": Cut(old="x = self.first(x)", new="import antifragile"),
    "random": Cut(
        old="x = self.first(x)",
        new="import os; x = x * (1 + int.from_bytes(os.urandom(4), 'big'))",
        cut_parameters=FIRST,
    ),
    "everything": Cut(
        old="x = self.late_dropout(x)", new="x = torch.zeros_like(x)", kind=AblationKind.ZERO
    ),
    "frozen": Cut(
        old="self.branch = nn.Linear(8, 8)",
        new="self.branch = nn.Linear(8, 8).requires_grad_(False)",
        kind=AblationKind.FREEZE,
        cut_parameters=("branch.weight", "branch.bias"),
    ),
    "refused": Cut(old="x", new="x", refusal="no legal edit"),
}


@pytest.mark.parametrize(
    ("cut", "verdict", "reason"),
    [
        ("nothing", CertificateVerdict.REFUSED, "it changes nothing"),
        (
            "layer",
            CertificateVerdict.CERTIFIED,
            "legal, and changes the output in evaluation mode and",
        ),
        ("never called", CertificateVerdict.REFUSED, "it changes nothing"),
        ("unused draw", CertificateVerdict.REFUSED, "it changes nothing"),
        ("dropout", CertificateVerdict.CERTIFIED, "legal, and changes the output in training mode"),
        (
            "zero branch",
            CertificateVerdict.INACTIVE_AT_INIT,
            "changes nothing on the weights as given",
        ),
        ("activation", CertificateVerdict.CERTIFIED, "changes the output in evaluation mode"),
        ("times one", CertificateVerdict.REFUSED, "it changes nothing"),
        ("rounding", CertificateVerdict.REFUSED, "it changes nothing beyond rounding"),
        (
            "wider",
            CertificateVerdict.FAILED,
            "the output is [0][0] (4, 5) float32 instead of [0][0] (4, 4)",
        ),
        (
            "other structure",
            CertificateVerdict.FAILED,
            "the output is [0][1] (4, 8) float32 instead of",
        ),
        ("not a number", CertificateVerdict.FAILED, "the output holds infinities or NaN"),
        ("wrong prediction", CertificateVerdict.FAILED, "parameters changed by +0 instead of -1"),
        ("raises", CertificateVerdict.FAILED, "mode raised ValueError: no (model.py, line 19)"),
        ("needs us", CertificateVerdict.FAILED, "import of antifragile halted"),
        (
            "random",
            CertificateVerdict.FAILED,
            "not deterministic: with the same seed and weights, the output",
        ),
        (
            "everything",
            CertificateVerdict.REFUSED,
            "dead: the output no longer depends on the inputs (evaluation[0], evaluation[1]",
        ),
        (
            "frozen",
            CertificateVerdict.CERTIFIED,
            "legal, and changes what learns (branch.bias, branch.weight",
        ),
        ("refused", CertificateVerdict.REFUSED, "no legal edit"),
    ],
)
def test_verdict(
    certificates: dict[str, Certificate], cut: str, verdict: CertificateVerdict, reason: str
) -> None:
    assert certificates[cut].verdict is verdict
    assert reason in certificates[cut].reason


def test_a_certificate_lists_its_checks(certificates: dict[str, Certificate]) -> None:
    layer = certificates["layer"]
    assert layer.without_gradient == ("first.bias", "first.weight", "never.bias", "never.weight")
    assert layer.checks["repeat"] == "bit-identical"
    assert layer.checks["output shape"] == "[0] (4, 4) float32; [1][features] (4, 8) float32"
    assert layer.checks["gradients"] == "none for first.bias, first.weight"


def test_only_the_dropout_in_training_mode_changed(certificates: dict[str, Certificate]) -> None:
    checks = certificates["dropout"].checks
    assert checks["evaluation, given weights"] == "unchanged"
    assert checks["evaluation, randomised weights"] == "unchanged"
    assert checks["training, given weights"].startswith("changed by")


def test_three_variants_are_imported_by_a_fresh_python(
    certificates: dict[str, Certificate],
) -> None:
    cold = [item for item in certificates.values() if "cold import" in item.checks]
    assert len(cold) == 3


def test_each_certificate_is_written_beside_its_variant(bench: Bench) -> None:
    certificate = bench.certify_one(MODEL, "torch.relu(layer(x))", "layer(x)")
    written = json.loads((bench.folder / "out/v0/certificate.json").read_text())
    assert written["verdict"] == certificate.verdict == "certified"
    assert written["checks"] == certificate.checks


def test_what_a_model_writes_stays_out_of_the_folders(bench: Bench) -> None:
    model = MODEL.replace("def build():", "def build():\n    open('log', 'w').write('built')")
    bench.certify_one(model, "torch.relu(layer(x))", "layer(x)")
    names = {path.name for path in (bench.folder / "out").rglob("*")}
    assert names == {"baseline", "v0", "model.py", "data.py", "certificate.json"}


WRAPPED = """
import random
import numpy as np
import torch
from torch import nn

{top}

class Model(nn.Module):
    def __init__(self):
        super().__init__()
        self.spare = nn.Linear(8, 8)
        {init}

    def forward(self, x):
        {forward}


def build():
    return Model()
"""


def model(*, init: str, forward: str, top: str = "") -> str:
    return WRAPPED.format(
        init=init.replace("\n", "\n        "), forward=forward.replace("\n", "\n        "), top=top
    )


HIDDEN = {
    "list": ("self.layers = [nn.Linear(8, 8)]", "return self.layers[0](x)"),
    "nested": ("self.parts = {'a': [(nn.Linear(8, 8), 1)]}", "return self.parts['a'][0][0](x)"),
    "lambda": ("layer = nn.Linear(8, 8)\nself.go = lambda x: layer(x)", "return self.go(x)"),
    "plain tensor": (
        "self.weight = nn.Parameter(torch.ones(8))\nself.noise = torch.randn(8)",
        "return x * self.noise * self.weight",
    ),
    "permutation": (
        "self.last = nn.Linear(8, 8)\nself.order = torch.randperm(8)",
        "return self.last(x[:, self.order])",
    ),
    "own object": (
        "self.last = nn.Linear(8, 8)\nself.box = Box()",
        "return self.last(x) + self.box.layer(x)",
    ),
}


@pytest.mark.parametrize("place", HIDDEN)
def test_values_are_copied_wherever_they_are_kept(bench: Bench, place: str) -> None:
    """Without the layer that nobody calls, all later layers start from other random numbers."""
    init, forward = HIDDEN[place]
    top = "class Box:\n    def __init__(self):\n        self.layer = nn.Linear(8, 8)\n"
    certificate = bench.certify_one(
        model(init=init, forward=forward, top=top),
        "self.spare = nn.Linear(8, 8)",
        "self.spare = nn.Identity()",
        cut_parameters=("spare.weight", "spare.bias"),
        parameter_delta=-72,
    )
    assert (certificate.verdict, certificate.reason) == (
        CertificateVerdict.REFUSED,
        "it changes nothing",
    )


def test_numbers_out_of_reach_are_never_taken_for_a_change(bench: Bench) -> None:
    certificate = bench.certify_one(
        model(
            init="self.last = nn.Linear(8, 8)\nself.scale = torch.rand(1).item()",
            forward="return self.last(x) * self.scale",
        ),
        "self.spare = nn.Linear(8, 8)",
        "self.spare = nn.Identity()",
        cut_parameters=("spare.weight", "spare.bias"),
        parameter_delta=-72,
    )
    assert certificate.verdict is CertificateVerdict.REFUSED
    assert "cannot be told from another initialisation" in certificate.reason


DRAWS = {
    "torch": "torch.rand(5)",
    "python": "random.random()",
    "numpy": "np.random.rand(5)",
}


@pytest.mark.parametrize("library", DRAWS)
def test_a_draw_that_nobody_uses_is_no_change(bench: Bench, library: str) -> None:
    certificate = bench.certify_one(
        model(
            init="self.last = nn.Linear(8, 8)",
            forward=f"unused = {DRAWS[library]}\nx = x * random.uniform(1, 2)\n"
            "x = x * float(np.random.uniform(1, 2)) + torch.randn_like(x)\nreturn self.last(x)",
        ),
        f"unused = {DRAWS[library]}",
        "pass",
    )
    assert (certificate.verdict, certificate.reason) == (
        CertificateVerdict.REFUSED,
        "it changes nothing",
    )


def test_a_rare_draw_is_found_by_drawing_again(bench: Bench) -> None:
    certificate = bench.certify_one(
        model(
            init="self.last = nn.Linear(8, 8)",
            forward="if self.training and torch.rand(1) < 0.2:\n    x = x * 0.5\n"
            "return self.last(x)",
        ),
        "torch.rand(1) < 0.2",
        "torch.rand(1) < 0.0",
    )
    assert certificate.verdict is CertificateVerdict.CERTIFIED


def test_batch_norm_that_shows_in_training_only(bench: Bench) -> None:
    certificate = bench.certify_one(
        model(
            init="self.norm = nn.BatchNorm1d(8)\nself.last = nn.Linear(8, 8)",
            forward="return self.last(self.norm(x))",
        ),
        "self.norm(x)",
        "x",
        cut_parameters=("norm.weight", "norm.bias"),
    )
    assert certificate.verdict is CertificateVerdict.CERTIFIED
    assert certificate.checks["evaluation, given weights"].startswith("rounding only")


@pytest.mark.parametrize("dtype", ["float64", "bfloat16"])
def test_other_precisions(bench: Bench, dtype: str) -> None:
    text = model(
        init="self.last = nn.Linear(8, 8)", forward="x = torch.tanh(x)\nreturn self.last(x)"
    )
    text = text.replace("return Model()", f"return Model().to(torch.{dtype})")
    inputs = INPUTS.replace("torch.randn(4, 8)", f"torch.randn(4, 8, dtype=torch.{dtype})")
    real, none = bench.certify(
        text,
        Cut(old="x = torch.tanh(x)", new="pass"),
        Cut(old="x = torch.tanh(x)", new="x = torch.tanh(x) * 3 / 3"),
        inputs=inputs,
    )
    assert (real.verdict, none.verdict) == (
        CertificateVerdict.CERTIFIED,
        CertificateVerdict.REFUSED,
    )


MARKED = """
import torch
from torch import nn


def build():
    return nn.Sequential(nn.Linear(8, 8), nn.Tanh(), nn.Linear(8, 1))


def step(model, x):
    x = x + 1.0
    loss = model(x).square().mean()
    loss = loss + 0.1 * model[0].weight.abs().sum()
    loss = loss + 0.0
    loss = loss + x.sum() - x.sum().detach()
    return loss
"""


@pytest.mark.parametrize(
    ("old", "verdict", "reason"),
    [
        ("    x = x + 1.0\n", CertificateVerdict.CERTIFIED, "the loss and the gradients"),
        (
            "    loss = loss + 0.1 * model[0].weight.abs().sum()\n",
            CertificateVerdict.CERTIFIED,
            "the loss",
        ),
        ("    loss = loss + 0.0\n", CertificateVerdict.REFUSED, "it changes nothing"),
        (
            "    loss = loss + x.sum() - x.sum().detach()\n",
            CertificateVerdict.REFUSED,
            "it changes nothing",
        ),
    ],
)
def test_marked_lines_are_judged_by_loss_and_gradients(
    bench: Bench, old: str, verdict: CertificateVerdict, reason: str
) -> None:
    certificate = bench.certify_one(MARKED, old, "", kind=AblationKind.DISABLE)
    assert certificate.verdict is verdict
    assert reason in certificate.reason


def test_marked_lines_of_the_data_are_judged_by_the_batch(bench: Bench) -> None:
    inputs = (
        "import torch\n\ndef inputs():\n    x = torch.randn(4, 8)\n    x = x * 2\n    return (x,)\n"
    )
    certificate = bench.certify_one(
        MARKED, "    x = x * 2\n", "", kind=AblationKind.DISABLE, inputs=inputs
    )
    assert certificate.verdict is CertificateVerdict.CERTIFIED
    assert "the batch" in certificate.reason


BROKEN = {
    "x = self.first(x)": ("raise KeyError('k')", "raised KeyError: 'k' (model.py, line 19)"),
    "return Model()": (
        "raise OSError('no weights')",
        "build() of model.py raised OSError: no weights",
    ),
    "    return Model()": (
        "    pass",
        "build() of model.py must return a torch.nn.Module; got None",
    ),
    "return self.last(x), ": ("return ", "no output of the forward pass depends on a parameter"),
    "x = self.dropout(x)": (
        "import os; x = x * (1 + int.from_bytes(os.urandom(4), 'big'))",
        "not deterministic: with the same seed and weights, the output in evaluation mode",
    ),
    "import torch\n": ("import nonesuch\n", "importing model.py raised ModuleNotFoundError"),
}


@pytest.mark.parametrize("old", BROKEN)
def test_a_model_that_cannot_be_measured_is_told_in_a_sentence(bench: Bench, old: str) -> None:
    new, reason = BROKEN[old]
    broken = MODEL.replace(old, new, 1).replace('{"features": x}', '{"features": x.detach()}')
    with pytest.raises(ModelError) as caught:
        bench.certify(broken, Cut(old="Model", new="Model"))
    assert reason in str(caught.value)


def test_inputs_must_be_inputs(bench: Bench) -> None:
    inputs = INPUTS.replace("(torch.randn(4, 8),)", "'a text'")
    with pytest.raises(ModelError, match=r"must return a tensor, a tuple .*; got a str\."):
        bench.certify(MODEL, Cut(old="x", new="x"), inputs=inputs)
