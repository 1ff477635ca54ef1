"""Sums, products and scale factors: every row says what goes, and that goes indeed."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from antifragile.ablate.certify.certificate import certify
from antifragile.ablate.generation.generate import generate
from antifragile.ablate.records import (
    AblationKind,
    Certificate,
    CertificateVerdict,
    ComponentKind,
    Refused,
    Variant,
)
from antifragile.ablate.sandbox.server import Server
from tests.ablate.model_projects import model_plan, part_of

IDENTITY, ZERO = AblationKind.IDENTITY, AblationKind.ZERO
BRANCH, SKIP = AblationKind.REMOVE_BRANCH, AblationKind.REMOVE_SKIP
OPERATORS = (
    *(ComponentKind.RESIDUAL, ComponentKind.SUM, ComponentKind.GATE),
    *(ComponentKind.PRODUCT, ComponentKind.SCALE),
)


def rows(server: Server, model: str) -> list[str]:
    """Each operator: what goes by each of its ablations, and the text that stays or the reason."""
    found = []
    for item in model_plan(server, model).plans:
        name, kind = item.component.name.partition(":")[2], item.component.kind
        if kind not in OPERATORS:
            continue
        for ablation, removed in item.component.removes.items():
            outcome = item.outcomes[ablation]
            if ablation in (AblationKind.MEAN, AblationKind.SHUFFLE):
                continue
            stays = outcome.reason if isinstance(outcome, Refused) else outcome[0].edits[0].text
            found.append(f"{name} | {kind} | {ablation} | {removed} -> {stays}")
    return found


def test_gates_and_products(tracing: Server) -> None:
    assert rows(tracing, "factors") == [
        "i * g | gate | identity | i -> g",
        "o * torch.tanh | gate | identity | o -> torch.tanh(c)",
        "(1 - gate) * z of ((1 - gate) * z) + torch.mul | sum | zero | (1 - gate) * z"
        " -> torch.mul(h, gate[:, :8])",
        "torch.mul of ((1 - gate) * z) + torch.mul | sum | zero | torch.mul -> (1 - gate) * z",
        "(1 - gate) * z | gate | identity | 1 - gate -> z",
        "h * gate | gate | identity | gate -> h",
        "gate * content | gate | identity | gate -> content",
        "F.silu * self.two | gate | identity | F.silu -> self.two(x)",
        "x * self.three | gate | identity | self.three -> x",
        "torch.sigmoid * torch.sigmoid of (torch.sigmoid * torch.sigmoid) + "
        "((self.one * self.two) * self.three) | sum | zero | torch.sigmoid * torch.sigmoid"
        " -> self.one(x) * self.two(x) * self.three(x)",
        "(self.one * self.two) * self.three of (torch.sigmoid * torch.sigmoid) + "
        "((self.one * self.two) * self.three) | sum | zero | (self.one * self.two) * self.three"
        " -> torch.sigmoid(y) * torch.sigmoid(z)",
        "torch.sigmoid(y) of torch.sigmoid * torch.sigmoid | product | identity | torch.sigmoid(y)"
        " -> torch.sigmoid(z)",
        "torch.sigmoid(z) of torch.sigmoid * torch.sigmoid | product | identity | torch.sigmoid(z)"
        " -> torch.sigmoid(y)",
        "(self.one * self.two) * self.three | gate | identity | self.three"
        " -> self.one(x) * self.two(x)",
        "self.one of self.one * self.two | product | identity | self.one -> self.two(x)",
        "self.two of self.one * self.two | product | identity | self.two -> self.one(x)",
        # within [0, 1] at the first call alone: open
        "c of c * self.step | product | identity | c -> self.step(x)",
        "self.step of c * self.step | product | identity | self.step"
        " -> no gradient from the output would reach the input",
    ]


def test_sums_and_differences(tracing: Server) -> None:
    both = "self.one - (self.two + self.shift)"
    assert rows(tracing, "summands") == [
        "x - y | residual | remove-branch | y -> x",
        "x - y | residual | remove-skip | x -> -y",
        "self.two + x | residual | remove-branch | self.two -> x",
        "self.two + x | residual | remove-skip | x -> self.two(x)",
        "self.three - x | residual | remove-branch | self.three -> -x",
        "self.three - x | residual | remove-skip | x -> self.three(x)",
        "x - torch.tanh | residual | remove-branch | torch.tanh -> ",  # the statement goes
        "x - torch.tanh | residual | remove-skip | x -> x = -torch.tanh(x)",
        "x - self.one | residual | remove-branch | self.one -> x",
        "x - self.one | residual | remove-skip | x -> -self.one(x)",
        "x - self.one #2 | residual | remove-branch | self.one -> x",
        "x - self.one #2 | residual | remove-skip | x -> what would remain is scaled by alpha",
        "x of x + self.shift | sum | zero | x -> no gradient from the output would reach the input",
        "self.shift of x + self.shift | sum | zero | self.shift -> x",
        f"2 * ({both}) | scale | identity | 2 -> self.one(x) - (self.two(x) + self.shift)",
        f"self.one of {both} | sum | zero | self.one -> -(self.two(x) + self.shift)",
        f"self.two + self.shift of {both} | sum | zero | self.two + self.shift -> self.one(x)",
        "self.two of self.two + self.shift | sum | zero | self.two -> self.shift",
        "self.shift of self.two + self.shift | sum | zero | self.shift -> self.two(x)",
        "self.one + self.two of (self.one + self.two) + self.three | sum | zero"
        " | self.one + self.two -> self.three(x)",
        "self.three of (self.one + self.two) + self.three | sum | zero | self.three"
        " -> self.one(x) + self.two(x)",
        "self.one of self.one + self.two | sum | zero | self.one -> self.two(x)",
        "self.two of self.one + self.two | sum | zero | self.two -> self.one(x)",
        "x - torch.tanh #2 | residual | remove-branch | torch.tanh -> x",
        "x - torch.tanh #2 | residual | remove-skip | x -> -torch.tanh(x)",
    ]


def test_scale_factors_and_divisors(tracing: Server) -> None:
    found = [row for row in rows(tracing, "scales") if "| scale |" in row]
    assert [row.replace(" | scale | identity", "") for row in found] == [
        "self.tokens * 4.0 | 4.0 -> self.tokens(ids)",
        "self.fc * self.scale | self.scale -> self.fc(x)",
        "(q @ x.transpose) / math.sqrt | math.sqrt -> q @ x.transpose(-2, -1)",
        "0.5 * self.fc | 0.5 -> self.fc(weights.softmax(-1) @ x)",
        "x * 1.25 | 1.25 -> ",  # the statement goes
        "torch.div * 0.75 | 0.75 -> torch.div(x, 3.0)",
        "x / 3.0 | 3.0 -> x",
        "x / x.norm | x.norm -> x",
        "x * torch.rsqrt | torch.rsqrt -> x",
        "x * self.damping | self.damping -> x",
        "self.fc * self.log_scale[:1].exp | self.log_scale[:1].exp -> self.fc(x)",
        "self.head / self.temperature | self.temperature -> self.head(x)[:, : int(size)]",
    ]


def certified(model: str, out: Path, server: Server) -> list[tuple[Variant, Certificate]]:
    """The certificates of a model's operators, each cut in its own way."""
    plan = model_plan(server, model)
    names = {item.name for item in plan.components if item.kind in OPERATORS}
    variants = generate(part_of(plan, names), out, (IDENTITY, ZERO, BRANCH, SKIP))
    certificates = certify(plan.project, out, variants, server=server, cold_imports=0)
    return list(zip(variants, certificates, strict=True))


@pytest.mark.parametrize("model", ["factors", "summands", "scales"])
def test_what_is_planned_is_certified(model: str, tmp_path: Path, tracing: Server) -> None:
    pairs = certified(model, tmp_path, tracing)
    others = {
        variant.component.partition(":")[2]: found.reason.partition(" (")[0]
        for variant, found in pairs
        if variant.refusal is None and found.verdict is not CertificateVerdict.CERTIFIED
    }
    before_a_norm = ("x * 1.25", "x / 3.0", "torch.div * 0.75", "x / x.norm")
    expected = {
        "scales": dict.fromkeys(before_a_norm, "it changes nothing beyond rounding"),
    }
    assert others == expected.get(model, {})
    assert all(variant.removes for variant, _ in pairs)


def test_without_the_temperature_its_gradient_goes(tmp_path: Path, tracing: Server) -> None:
    [found] = [
        variant
        for variant, _ in certified("scales", tmp_path, tracing)
        if variant.removes == "self.temperature"
    ]
    assert (found.cut_parameters, found.parameter_delta) == (("temperature",), 0)


def loaded(folder: Path, file: str) -> Any:
    """The module of a generated file."""
    spec = importlib.util.spec_from_file_location("generated", folder / file)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_without_its_gate_a_cell_gives_its_content(tmp_path: Path, tracing: Server) -> None:
    plan = part_of(
        model_plan(tracing, "factors"), ["Cell.forward:o * torch.tanh", "Cell.forward:i * g"]
    )
    inner, outer = generate(plan, tmp_path, [IDENTITY])
    assert (inner.removes, outer.removes) == ("i", "o")
    cells: list[nn.Module] = []
    for variant in (inner, outer):
        torch.manual_seed(0)
        cells.append(loaded(tmp_path / variant.folder, "factors.py").Cell())
    x = torch.randn(3, 8)
    first: Any = cells[0]
    i, o = torch.sigmoid(first.wi(x)), torch.sigmoid(first.wo(x))
    g = torch.tanh(first.wg(x))
    torch.testing.assert_close(cells[0](x), o * torch.tanh(g))
    torch.testing.assert_close(cells[1](x), torch.tanh(i * g))


def test_the_folder_says_what_goes(tmp_path: Path, tracing: Server) -> None:
    plan = part_of(model_plan(tracing, "summands"), ["Net.forward:x - y"])
    branch, skip = generate(plan, tmp_path, [BRANCH, SKIP])
    for variant, removed in ((branch, "y"), (skip, "x")):
        text = (tmp_path / variant.folder / "variant.toml").read_text()
        assert f'removes = "{removed}"' in text


def test_a_list_of_pairs_is_shortened_as_a_whole(tmp_path: Path, tracing: Server) -> None:
    plan = model_plan(tracing, "paired_layers")
    outcomes = {item.component.name: item.outcomes for item in plan.plans}
    for place in ("[*][0]", "[*][1]", "[*][1][0]", "[*][1][1]"):
        outcome = outcomes[f"Net.layers{place} (all)"][AblationKind.SHRINK]
        assert outcome == Refused(
            reason="the list holds other layers beside it, which would go too"
        )
    variants = generate(part_of(plan, ["Net.layers[*] (all)"]), tmp_path, [AblationKind.SHRINK])
    [found] = certify(plan.project, tmp_path, variants, server=tracing, cold_imports=0)
    assert found.verdict is CertificateVerdict.CERTIFIED
    assert found.parameter_delta == -2 * 72
    gone = ("layers.1.0.fc.weight", "layers.1.0.fc.bias", "layers.1.1.0.weight")
    assert set(gone) < set(variants[0].cut_parameters)
