"""Every built-in template carries an example: planned on its `before`, it writes its `after`."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

from antifragile.ablate.discovery.evidence import Evidence
from antifragile.ablate.plan.catalogue import Template, load_templates
from antifragile.ablate.plan.model import plan_kind
from antifragile.ablate.records import (
    Component,
    ComponentKind,
    Entry,
    Project,
    Refused,
    SiteKey,
    Span,
    Target,
)
from antifragile.ablate.source.edits import apply_edits
from antifragile.ablate.source.syntax import SourceFile
from antifragile.ablate.trace.records import (
    Batch,
    Callee,
    Gradients,
    ModuleRun,
    SiteRun,
    Trace,
    Value,
)

FILE, ASSIGNED = "model.py", "result = "
ALIASES = {
    "torch": {"torch": "torch", "torch.nn": "nn", "torch.nn.functional": "F"},
    "keras": {"keras": "keras", "keras.layers": "layers", "keras.ops": "ops"},
}
SHAPES = {
    "same": ((2, 4, 8, 8), (2, 4, 8, 8)),
    "masked": ((2, 4, 8, 8), (2, 4, 8, 8)),
    "exposed": ((2, 4, 8, 8), (2, 4, 8, 8)),
    "any": ((2, 4, 8, 8), (2, 4, 8, 8)),
    "pooled": ((2, 4, 8, 8), (2, 4, 4, 4)),
    "resized": ((2, 8), (2, 4)),
    "reduced": ((2, 8, 4), (2, 4)),
}
PARAMETERS = {"layer.weight": 32, "other.weight": 32}
GRADIENTS = Gradients(
    successors=((1, 2), (), ()), starts=(0,), parameters={"layer.weight": 1, "other.weight": 2}
)
TEMPLATES = [
    pytest.param(framework, template, id=f"{framework}-{template.file}-{number}")
    for framework in ALIASES
    for number, template in enumerate(load_templates(framework=framework), start=1)
]


@pytest.mark.parametrize(("framework", "template"), TEMPLATES)
def test_a_template_writes_its_example(framework: str, template: Template, tmp_path: Path) -> None:
    assert template.before
    assert template.after
    (tmp_path / FILE).write_text(f"{ASSIGNED}{template.before}\n")
    source = SourceFile(FILE, f"{ASSIGNED}{template.before}\n")
    evidence = Evidence(project_in(tmp_path), traced_by_hand(framework, template, source))
    outcome = plan_kind(evidence, target_of(template, source), template.ablation, [template])
    assert not isinstance(outcome, Refused), outcome
    [planned] = outcome
    text = apply_edits(source.text, planned.edits)
    assert text.splitlines()[-1] == f"{ASSIGNED}{template.after}"
    assert bool(template.helper) == (text.count("\n") > 1)
    ast.parse(text)


def project_in(folder: Path) -> Project:
    entry = Entry(file=FILE, function="build")
    return Project(root=str(folder), sources=(FILE,), build=entry, inputs=entry)


def site_of(source: SourceFile) -> SiteKey:
    """The outermost call."""
    return FILE, next(n for n, node in enumerate(source.sites) if isinstance(node, ast.Call))


def target_of(template: Template, source: SourceFile) -> Target:
    span = Span(file=FILE, start_line=1, start_column=0, end_line=1, end_column=0)
    kinds = (template.ablation,)
    component = Component(name="it", kind=template.component, span=span, ran=True, kinds=kinds)
    modules = (1,) if template.component is ComponentKind.MODULE else ()
    return Target(component=component, site=site_of(source), modules=modules)


def traced_by_hand(framework: str, template: Template, source: SourceFile) -> Trace:
    """A trace of the example in which all tensors have the shapes that the template is for."""
    is_masked, is_exposed = (template.shapes == word for word in ("masked", "exposed"))
    before, after = (
        Value(shape=shape, dtype="float32", batch_axes=(0,), masked=is_masked)
        for shape in SHAPES[template.shapes]
    )
    key = site_of(source)
    call = source.sites[key[1]]
    assert isinstance(call, ast.Call)
    name = source.source(call.func).rpartition(".")[2]
    numbers = {str(place): item for place, item in enumerate(call.args)}
    numbers |= {item.arg: item.value for item in call.keywords if item.arg}
    constants = {k: ast.literal_eval(v) for k, v in numbers.items() if not is_tensor(v)}
    operands = {k: before for k, v in numbers.items() if is_tensor(v)} or {"0": before}
    signatures = ((tuple(value.shape for value in operands.values()), (after.shape,)),)
    site = SiteRun(
        calls=1,
        operands=operands,
        outputs=(after,),
        is_tensor=True,
        signatures=signatures,
        callee=Callee.FUNCTION,
        name=name,
        arguments=constants,
    )
    module = ModuleRun(
        calls=1,
        operands=operands,
        outputs=(after,),
        is_tensor=not template.of_tuple,
        n_leading=int(template.of_tuple),
        signatures=signatures,
        names=("layer",),
        type=f"{framework}.nn.{name}",
        parameters=("layer.weight",),
        own_parameters=("layer.weight",),
        built_at=(key,),
        settings=constants,
        exposed=tuple(operands) if is_exposed else (),
        touched=("weight",) if is_exposed and template.keep else (),
    )
    return Trace(
        framework=framework,
        sha256={FILE: source.sha256},
        sites={key: site},
        modules=(ModuleRun(names=("",), type="Net"), module),
        parameters=PARAMETERS,
        gradients=GRADIENTS,
        aliases={FILE: ALIASES[framework]},
        inputs=(before,),
        outputs=(after,),
        batch=Batch(size=2),
    )


def is_tensor(node: ast.expr) -> bool:
    return isinstance(node, ast.Name)
