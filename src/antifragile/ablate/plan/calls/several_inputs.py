"""Edits that pass one of several inputs on: which one, and what the others would lose."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import replace

from antifragile.ablate.discover.arithmetic import operand_nodes
from antifragile.ablate.discover.evidence import Evidence, SeenSite, label
from antifragile.ablate.discover.inputs import method_of
from antifragile.ablate.plan.attempt import Attempt
from antifragile.ablate.plan.operands import shape_pairs, shape_relations
from antifragile.ablate.records import NoLegalEdit
from antifragile.ablate.trace.records import ModuleRun, Run


def passed_by_call(site: SeenSite, operand: str) -> str | None:
    """Say which input a call is replaced by; None where no other one has the result's shape."""
    if not could_be_another([site.run], operand):
        return None
    return f"passes on `{label(site.source, operand_nodes(site.node)[operand])}`"


def passed_by_modules(evidence: Evidence, modules: Sequence[ModuleRun], operand: str) -> str | None:
    """Say which input modules pass on; None where no other one has the result's shape."""
    if not could_be_another(modules, operand):
        return None
    names = {parameter_name(evidence, module, operand) for module in modules}
    name = names.pop() if len(names) == 1 else ""
    return f"passes on `{name}`" if name else f"passes on its input number {int(operand) + 1}"


def could_be_another(runs: Sequence[Run], operand: str) -> bool:
    """Whether another tensor than a given operand could have taken the place of the results."""
    first = runs[0].operands.get(operand)
    names = [
        name
        for name, value in runs[0].operands.items()
        if "." not in name and name != operand and value.is_floating
    ]
    return first is not None and any(
        "same" in shape_relations(shape_pairs(runs, name))
        and not is_one_tensor(runs, operand, name)
        for name in names
    )


def is_one_tensor(runs: Sequence[Run], one: str, other: str) -> bool:
    """Whether two operands were the same tensor in each call: `attention(x, x)`."""
    calls = [given for run in runs for _, given in run.nodes]
    return bool(calls) and all(
        given.get(one) is not None and given.get(one) == given.get(other) for given in calls
    )


def parameter_name(evidence: Evidence, module: ModuleRun, operand: str) -> str:
    """Return the name of an input in the signature of a module's forward; "" where unknown."""
    if not operand.isdigit():
        return operand
    known = evidence.classes.get(module.type.rpartition(".")[2])
    methods = [method_of(known[1], name) for name in ("forward", "call")] if known else []
    for method in filter(None, methods):
        names = [item.arg for item in (*method.args.posonlyargs, *method.args.args)][1:]
        return names[int(operand)] if int(operand) < len(names) else ""
    return ""


def check_other_inputs(attempt: Attempt, operand: str, lost: Collection[str]) -> None:
    """Refuse to pass one input on where all that led to another one would be lost with it."""
    graph, held = attempt.evidence.trace.gradients, set[str]()
    for number in attempt.evidence.below(attempt.target.modules):
        held.update(attempt.evidence.module(number).parameters)
    others = {
        node
        for run in attempt.runs
        for _, made in run.nodes
        for name, node in made.items()
        if name != operand and node is not None
    }
    fed = replace(graph, starts=tuple(others)).walk({})
    cut = [name for name in attempt.evidence.trace.parameters if name in lost and name not in held]
    gone = [name for name in cut if graph.parameters.get(name) in fed]
    if gone:
        raise NoLegalEdit(
            f"its other inputs would be cut off, and with them {gone[0]}"
            f"{f' and {len(gone) - 1} more' if len(gone) > 1 else ''}"
        )
