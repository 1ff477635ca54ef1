"""Edits that pass inputs on where there are several: which ones, and what the others would lose.

A layer that hands on several tensors, `nodes, places = layer(nodes, places)`, is bypassed in all.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from functools import partial
from itertools import takewhile

from antifragile.ablate.discovery.arithmetic import operand_nodes
from antifragile.ablate.discovery.evidence import Evidence, SeenSite, label
from antifragile.ablate.discovery.inputs import method_of
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


def check_other_inputs(attempt: Attempt, passed: Collection[str], lost: Collection[str]) -> None:
    """Refuse to pass one input on where all that led to another one would be lost with it."""
    graph, held = attempt.evidence.trace.gradients, set[str]()
    for number in attempt.evidence.below(attempt.target.modules):
        held.update(attempt.evidence.module(number).parameters)
    fed = graph.leading_to(
        node
        for run in attempt.runs
        for _, given in run.nodes
        for name, node in given.items()
        if name not in passed
    )
    cut = [name for name in attempt.evidence.trace.parameters if name in lost and name not in held]
    gone = [name for name in cut if graph.parameters.get(name) in fed]
    if gone:
        raise NoLegalEdit(
            f"its other inputs would be cut off, and with them {gone[0]}"
            f"{f' and {len(gone) - 1} more' if len(gone) > 1 else ''}"
        )


def n_streams(runs: Sequence[Run], operand: str) -> int:
    """Return how many first results of tuples have the shape and type of the input in their place.

    Args:
        runs: The places.
        operand: The input that takes the first one's place.
    """
    if operand != "0":
        return 1
    further = (takewhile(partial(is_stream, run), range(1, run.n_leading)) for run in runs)
    return min(1 + len(list(places)) for places in further)


def is_stream(run: Run, place: int) -> bool:
    """Whether a result in a place is a new version of the input in that place."""
    before, after = run.operands.get(str(place)), run.outputs[place]
    if before is None or not after.producer or before.dtype != after.dtype:
        return False
    position = list(run.operands).index(str(place))
    return all(
        max(position, place) < min(len(given), len(made)) and given[position] == made[place]
        for given, made in run.signatures
    )


def first_results(run: Run, operand: str, n: int = 1) -> Run:
    """Return the calls of a place as if they made only the first n of their results.

    The input that takes a result's place is called by the given operand's name in all of them.
    """
    made_by_code = [place for place, value in enumerate(run.outputs) if value.producer]
    nodes = []
    for numbers, given in run.nodes:
        for place in range(n):
            name = operand if place == 0 else str(place)
            found = [numbers[made_by_code.index(place)]] if place in made_by_code else []
            nodes.append((tuple(found), {**given, operand: given.get(name)}))
    return Run(nodes=tuple(nodes))


def words_of_streams(n: int) -> str:
    """Say which results are replaced by inputs, and that the others stay."""
    if n == 1:
        return "the input in place of the first result; the others stay"
    return f"the first {n} inputs in place of the first {n} results"
