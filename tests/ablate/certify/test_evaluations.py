"""A certificate sees what a variant evaluates more often than the model, beside its own cut."""

from __future__ import annotations

from pathlib import Path

import pytest

from antifragile.ablate.records import AblationKind, Certificate, CertificateVerdict
from antifragile.ablate.sandbox.server import Server
from tests.ablate.certify.hand_cut_variants import Bench

HEAD = """
import torch
import torch.nn.functional as F
from torch import nn


def resample(x, shape):
    return F.adaptive_avg_pool1d(x.unsqueeze(1), shape).squeeze(1)


class Model(nn.Module):
    def __init__(self):
        super().__init__()
        self.first, self.norm, self.drop = nn.Linear(8, 8), nn.BatchNorm1d(8), nn.Dropout(0.5)
        self.thin, self.late, self.last = nn.Linear(8, 4), nn.BatchNorm1d(4), nn.Linear(4, 3)
        self.register_buffer("counted", torch.zeros(()))

    def count(self, x):
        self.counted = self.counted + 1
        return x * 1.5

    def forward(self, x):
        y = self.thin({argument})
        return self.last(self.late(y) + self.thin(x))


def build():
    return Model()
"""
ARGUMENT = "self.drop(self.count(self.norm(x)))"
MORE = "it evaluates more than the baseline: {} in one forward pass"


def certificate(folder: Path, server: Server, argument: str, new: str) -> Certificate:
    bench = Bench(folder=folder, server=server)
    return bench.certify_one(
        HEAD.replace("{argument}", argument), f"self.thin({argument})", new.format(argument)
    )


@pytest.mark.parametrize(
    ("argument", "more"),
    [
        (
            "self.norm(x)",
            "2 instead of 1 calls of norm, 2 instead of 1 steps of norm.num_batches_tracked",
        ),
        ("F.dropout(x, 0.5)", "2 instead of 1 draws of random numbers"),
        ("self.count(x)", "2 instead of 1 steps of counted"),
        ("torch.relu(self.first(x))", "2 instead of 1 calls of first"),
    ],
)
def test_an_argument_evaluated_twice_is_no_cut(
    tmp_path: Path, tracing: Server, argument: str, more: str
) -> None:
    """The argument as it is passed on, and again in the call that gives the shape."""
    old = certificate(
        tmp_path / "old", tracing, argument, "resample({0}, self.thin({0}).shape[1:])"
    )
    assert old.verdict is CertificateVerdict.FAILED
    assert old.reason == MORE.format(more)
    assert old.checks["evaluations"] == more


@pytest.mark.parametrize(
    "argument", ["self.norm(x)", "F.dropout(x, 0.5)", "self.count(x)", "self.drop(self.first(x))"]
)
@pytest.mark.parametrize(
    "new", ["resample({0}, (4,))", "resample((given := {0}), self.thin(given).shape[1:])"]
)
def test_an_argument_evaluated_once_is_certified(
    tmp_path: Path, tracing: Server, argument: str, new: str
) -> None:
    """The statistics of the norm behind the cut move otherwise, and may."""
    found = certificate(tmp_path / "new", tracing, argument, new)
    assert found.verdict is CertificateVerdict.CERTIFIED, found.reason
    assert found.checks["evaluations"].startswith("no module, draw or counter more often")


def test_what_data_decide_is_not_counted(tmp_path: Path, tracing: Server) -> None:
    """A loop that runs until its values are small runs otherwise without a layer, honestly."""
    text = HEAD.replace("{argument}", "x").replace(
        "y = self.thin(x)",
        "h, n = self.first(x), 0\n"
        "        while n < 9 and (n < 1 or h.abs().max() > {limit}):\n"
        "            h, n = 0.5 * torch.tanh(self.first(self.norm(h))), n + 1\n"
        "        y = self.thin(h)",
    )
    bench = Bench(folder=tmp_path, server=tracing)
    found = bench.certify_one(
        text.replace("{limit}", "0.4"), "self.first(self.norm(h))", "3 + self.first(h)"
    )
    assert "evaluates more" not in found.reason


def test_fewer_evaluations_are_a_cut(tmp_path: Path, tracing: Server) -> None:
    bench, text = Bench(folder=tmp_path, server=tracing), HEAD.replace("{argument}", ARGUMENT)
    cut = ("norm.weight", "norm.bias")
    found = bench.certify_one(text, f"self.thin({ARGUMENT})", "self.thin(x)", cut_parameters=cut)
    assert found.verdict is CertificateVerdict.CERTIFIED, found.reason


def test_a_marked_line_may_lead_another_way(tmp_path: Path, tracing: Server) -> None:
    text = HEAD.replace("{argument}", "x").replace(
        "y = self.thin(x)", "y = self.thin(x)\n        return self.last(y)"
    )
    bench = Bench(folder=tmp_path, server=tracing)
    found = bench.certify_one(text, "return self.last(y)", "pass", kind=AblationKind.DISABLE)
    assert found.verdict is CertificateVerdict.CERTIFIED, found.reason
