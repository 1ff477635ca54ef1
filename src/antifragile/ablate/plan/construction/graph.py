"""Edits of one layer of a functional model, behind the place that makes the finished model."""

from __future__ import annotations

from antifragile.ablate.discover.graphs.layers import WHICH
from antifragile.ablate.plan.attempt import Attempt
from antifragile.ablate.plan.modules import filled_template, with_effects
from antifragile.ablate.plan.names import library_names, with_helper
from antifragile.ablate.records import Planned
from antifragile.ablate.source.edits import replace as replace_node

_WITH_LAYER = '''def with_layer(model, change, **which):
    """Puts something else in the place of one layer of a finished model."""
    layer = model.get_layer(**which)
    new = change(layer)
    if new is layer:
        return model
    return {keras}.models.clone_model(model, clone_function=lambda it: new if it is layer else it)
'''


def plan_graph_layer(attempt: Attempt) -> Planned:
    """Replace one layer of a model that is finished: all others stay the same objects."""
    evidence, source, node = attempt.evidence, attempt.site.source, attempt.site.node
    filled = filled_template(attempt, source, "layer")
    which = attempt.target.options[WHICH]
    text = f"with_layer({source.source(node)}, lambda layer: {filled.text}, {which})"
    helper = _WITH_LAYER.replace("{keras}", library_names(evidence, source)["keras"])
    if filled.helper:
        helper = f"{filled.helper}\n\n\n{helper}"
    edits = with_helper(evidence, source, node, replace_node(source, node, text), helper)
    return with_effects(attempt, filled, edits)
