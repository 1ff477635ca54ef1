"""Variants of sources as authors write them: every byte that an ablation does not mean stays."""

from __future__ import annotations

import warnings
from dataclasses import replace
from pathlib import Path

import pytest

from antifragile.ablate.generation.generate import generate
from antifragile.ablate.plan.model import plan_ablations
from antifragile.ablate.records import AblationPlan, Variant
from antifragile.ablate.sandbox.server import Server
from antifragile.ablate.source.edits import edited
from antifragile.ablate.source.project import load_project
from antifragile.ablate.source.text import diff_of
from tests.ablate.model_projects import traced

MARK = b"\xef\xbb\xbf"
TIGHT = """\
import torch
from torch import nn


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.a, self.act, self.b = nn.Linear(8, 8), nn.ReLU(), nn.Linear(8, 8)

    def forward(self, x):
        x = x if 0else self.act(x)
        assert(x.dim() == 2)
        while(x.size(0) > 4):
            x = x[:4]
        x = self.a(x)if self.training else(self.a(x))
        return(self.act(x))+self.b(x)


def build():
    return Net()


def inputs():
    return (torch.randn(4, 8, generator=torch.Generator().manual_seed(3)),)
"""
PLAIN = """\
import torch
from torch import nn


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.fc = nn.Linear(8, 8)  # é
        self.act = nn.ReLU()

    def forward(self, x):
        return self.act(self.fc(x)) + x


def build():
    return Net()


def inputs():
    return (torch.randn(4, 8, generator=torch.Generator().manual_seed(3)),)
"""
TABS = PLAIN.replace("    ", "\t").encode()
SOURCES = {
    "tight": TIGHT.encode(),
    "windows": PLAIN.replace("\n", "\r\n").encode(),
    "mark, tabs and mixed ends": MARK
    + TABS.replace(b"super().__init__()\n", b"super().__init__()\r\n"),
    "latin-1": b"# -*- coding: latin-1 -*-\n" + PLAIN.encode("latin-1"),
    "form feeds": PLAIN.replace("\n\n\n", "\n\n\x0c\n")
    .replace("# é", "# \u2028 \x85 \x0b")
    .encode(),
    "no last line end": PLAIN.rstrip("\n").encode(),
    "semicolons": PLAIN.replace("()\n        self.fc", "(); self.fc").encode(),
}


def made_of(folder: Path, content: bytes, server: Server) -> tuple[AblationPlan, list[Variant]]:
    """Every variant of a model, with its plan."""
    path = folder / "model.py"
    path.write_bytes(content)
    project = load_project([path], f"{path}:build", f"{path}:inputs")
    plan = plan_ablations(project, traced(server, project))
    kinds = {kind for item in plan.plans for kind in item.outcomes}
    made = generate(plan, folder / "out", sorted(kinds))
    return plan, [variant for variant in made if variant.folder]


@pytest.mark.parametrize("source", SOURCES)
def test_a_variant_is_the_authors_file_but_for_its_edits(
    source: str, tmp_path: Path, tracing: Server
) -> None:
    content, out = SOURCES[source], tmp_path / "out"
    _, variants = made_of(tmp_path, content, tracing)
    assert (out / "baseline" / "model.py").read_bytes() == content
    assert len(variants) > 3
    for variant in variants:
        found = (out / variant.folder / "model.py").read_bytes()
        assert found != content
        assert edited(content, variant.edits) == found
        assert found.startswith(MARK) == content.startswith(MARK)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of `0else`
            compile(found, "model.py", "exec")
        diff = (out / variant.folder / "change.diff").read_bytes().decode()
        assert diff == "".join(diff_of(content, found, "a/model.py", "b/model.py"))


def test_no_bare_line_feed_gets_into_a_windows_file(tmp_path: Path, tracing: Server) -> None:
    _, variants = made_of(tmp_path, SOURCES["windows"], tracing)
    for variant in variants:
        found = (tmp_path / "out" / variant.folder / "model.py").read_bytes()
        assert found.count(b"\r\n") == found.count(b"\n") >= 20
        assert b"\r\r" not in found


def test_words_of_a_tightly_written_file_stay_apart(tmp_path: Path, tracing: Server) -> None:
    _, variants = made_of(tmp_path, SOURCES["tight"], tracing)
    lines = {
        line.strip()
        for variant in variants
        for line in (tmp_path / "out" / variant.folder / "model.py").read_text().splitlines()
    }
    for line in (
        "x = x if 0else x",
        "x = self.a(x)if self.training else(x)",
        "x = x if self.training else(self.a(x))",
        "return self.act(x)",
        "return self.b(x)",
        "return(x)+self.b(x)",
    ):
        assert line in lines


def test_the_plan_notes_the_hash_of_the_bytes(tmp_path: Path, tracing: Server) -> None:
    plan, _ = made_of(tmp_path, SOURCES["latin-1"], tracing)
    other, _ = made_of(tmp_path, SOURCES["latin-1"].replace(b"latin-1", b"cp1252 "), tracing)
    assert plan.sha256 != other.sha256
    assert replace(plan, sha256={}).plans == other.plans
