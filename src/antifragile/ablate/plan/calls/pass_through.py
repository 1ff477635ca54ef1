"""Edits that put operands of a call in the place of its results."""

from __future__ import annotations

from collections.abc import Sequence

from antifragile.ablate.discovery.arithmetic import operand_nodes
from antifragile.ablate.discovery.calls import PASSES
from antifragile.ablate.discovery.evidence import label
from antifragile.ablate.plan.attempt import Attempt
from antifragile.ablate.plan.calls.once import bound, names_for, text_with
from antifragile.ablate.records import NoLegalEdit, Planned
from antifragile.ablate.source.edits import operand_text
from antifragile.ablate.source.edits import replace as replace_node
from antifragile.ablate.trace.records import Run, SiteRun


def plan_pass_through(attempt: Attempt) -> Planned:
    """Replace `f(q, k, table)` by `q, k`, and `where(c, a, b)` by the choice that is kept."""
    source, node, run = attempt.site.source, attempt.site.node, attempt.site.run
    operands, nodes = attempt.target.options[PASSES].split(","), operand_nodes(node)
    inside = node if len(operands) == 1 else None
    is_built = attempt.evidence.trace.framework == "keras" and run.other_calls > 0
    kept = [nodes[name] for name in operands]
    names = names_for(source, node, kept if is_built else [])
    texts = [names.get(item) or operand_text(source, item, inside=inside) for item in kept]
    text = texts[0] if len(texts) == 1 else f"({', '.join(texts)})"
    if is_built:  # the layers that it builds keep their order
        text = bound(source, f"({text}, {text_with(source, node, names)})[0]", names)
    return Planned(
        edits=(replace_node(source, node, text),),
        substitute=f"passes on `{', '.join(label(source, nodes[name]) for name in operands)}`",
        cut_parameters=attempt.evidence.lost([each_result(run, operands)], "0"),
    )


def each_result(run: SiteRun, operands: Sequence[str]) -> Run:
    """Return the run as one call per result, whose operand "0" takes that result's place."""
    nodes = []
    places = [place for place, value in enumerate(run.outputs) if value.producer]
    places = places or list(range(len(run.outputs)))  # Keras names no producers
    for made, given in run.nodes:
        if len(made) != len(places):
            raise NoLegalEdit("not every result can be followed to the loss")
        nodes += [
            ((number,), {"0": given.get(operands[place])})
            for number, place in zip(made, places, strict=True)
        ]
    return Run(nodes=tuple(nodes))
