"""Every test model, one per idiom, certified: nothing fails, nothing is called changed that is not.

The quick test makes the default variants of a few models; the slow one every kind of every model.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from antifragile.ablate.certify.certificate import certify
from antifragile.ablate.generation.generate import generate
from antifragile.ablate.records import (
    AblationKind,
    Certificate,
    CertificateVerdict,
    Component,
    Variant,
)
from antifragile.ablate.sandbox.server import Server
from tests.ablate.discovery.expected_components import EXPECTED
from tests.ablate.model_projects import model_components, model_plan, part_of

QUICK = ("concat_skips", "raw_parameters", "tied_weights", "two_names", "zero_initialised")
DEAD = {  # the only way from the input to the output
    "raw_parameters": {"Net.forward:x.mean", "Net.forward:x.mean of x + x.mean"}
}
GOOD = (CertificateVerdict.CERTIFIED, CertificateVerdict.INACTIVE_AT_INIT)


def certified(
    model: str, out: Path, server: Server, kinds: tuple[AblationKind, ...] | None
) -> list[tuple[Component, Variant, Certificate]]:
    """Generate and certify a model's variants; of an input's features only the first."""
    plan = model_plan(server, model)
    components = {
        item.name: item
        for item in plan.components
        if "[" not in item.name or item.kind != "input" or item.name.endswith("[0]")
    }
    variants = generate(part_of(plan, components), out, kinds)
    certificates = certify(plan.project, out, variants, server=server, cold_imports=0)
    return [
        (components[variant.component], variant, certificate)
        for variant, certificate in zip(variants, certificates, strict=True)
    ]


@pytest.mark.parametrize("model", QUICK)
def test_the_default_variants_are_certified(model: str, tmp_path: Path, tracing: Server) -> None:
    rows = certified(model, tmp_path, tracing, None)
    check(rows)
    covered = {component.name for component, _, found in rows if found.verdict in GOOD}
    ran = {component.name for component, _, _ in rows if component.ran and not component.reason}
    assert ran - covered == DEAD.get(model, set())


@pytest.mark.slow
@pytest.mark.parametrize("model", sorted(EXPECTED))
def test_every_kind_is_certified_or_refused(model: str, tmp_path: Path, tracing: Server) -> None:
    check(certified(model, tmp_path, tracing, tuple(AblationKind)))


def check(rows: list[tuple[Component, Variant, Certificate]]) -> None:
    """Hold every row to what certification promises."""
    wrong = [
        f"{variant.component} {variant.kind}: {found.verdict}: {found.reason}"
        for component, variant, found in rows
        if found.verdict is CertificateVerdict.FAILED
        or not found.reason
        or not is_consistent(variant, found)
    ]
    assert wrong == []


def is_consistent(variant: Variant, found: Certificate) -> bool:
    """A refused edit is no certificate, and a certified one keeps its promises."""
    if variant.refusal is not None:
        return found.verdict is CertificateVerdict.REFUSED
    if found.verdict not in GOOD:
        return True
    is_kept = variant.parameter_delta in (None, found.parameter_delta)
    return is_kept and variant.diff_lines > 0


def test_a_branch_that_starts_at_zero_is_not_called_changed(
    tmp_path: Path, tracing: Server
) -> None:
    rows = certified("zero_initialised", tmp_path, tracing, (AblationKind.REMOVE_BRANCH,))
    assert [found.verdict for _, _, found in rows] == [CertificateVerdict.INACTIVE_AT_INIT]


def test_what_never_ran_gets_no_variant(tmp_path: Path, tracing: Server) -> None:
    rows = certified("never_called", tmp_path, tracing, None)
    names = {component.name for component, _, _ in rows}
    idle = {item.name for item in model_components(tracing, "never_called") if item.reason}
    assert idle == {"Net.unused", "Net.extra", "Net.nothing", "Net.forward:F.normalize"}
    assert not names & idle
