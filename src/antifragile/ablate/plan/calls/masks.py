"""Edits that take the mask from a call of the library's attention."""

from __future__ import annotations

from antifragile.ablate.discovery.arithmetic import operand_nodes
from antifragile.ablate.discovery.evidence import Evidence
from antifragile.ablate.plan.attempt import Attempt
from antifragile.ablate.records import NoLegalEdit, Planned
from antifragile.ablate.source.edits import replace as replace_node
from antifragile.ablate.trace.records import Callee, SiteRun


def plan_mask(attempt: Attempt) -> Planned:
    """Give the call None in place of the mask, and False in place of hints about it."""
    source, run, target = attempt.site.source, attempt.site.run, attempt.target
    nodes, name = operand_nodes(attempt.site.node), target.operand
    assert name is not None
    is_tensor = name in run.operands
    lost: tuple[str, ...] = ()
    if is_tensor and run.callee is Callee.FUNCTION:
        lost = attempt.evidence.lost([run], f"-{name}")
    elif is_tensor and run.operands[name].producer and learns(attempt.evidence, run, name):
        raise NoLegalEdit("its mask is computed from parameters inside the library's layer")
    hints = [hint for hint in target.options["hints"].split(",") if hint]
    texts = {name: "None" if is_tensor else "False"} | dict.fromkeys(hints, "False")
    return Planned(
        edits=tuple(replace_node(source, nodes[key], text) for key, text in texts.items()),
        substitute="no mask: every position is seen",
        cut_parameters=lost,
    )


def learns(evidence: Evidence, run: SiteRun, operand: str) -> bool:
    """Whether an operand depends on parameters, and not on the model's inputs alone."""
    graph = evidence.trace.gradients
    reached = graph.leading_to(operands.get(operand) for _, operands in run.nodes)
    return not reached or not reached.isdisjoint(graph.parameters.values())  # none: nobody knows
