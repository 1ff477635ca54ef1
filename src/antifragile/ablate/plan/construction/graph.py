"""Edits of Keras models: one layer of a finished functional model, and options of layers."""

from __future__ import annotations

import ast

from antifragile.ablate.discover.construction.options import NEW, OPTION, given_options
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
_WITHOUT_HEAD = '''def without_head(attention, head):
    """Silences one attention head before the output projection."""
    compute = attention._compute_attention

    def silenced(*args, **kwargs):
        output, scores = compute(*args, **kwargs)
        keep = {ops}.arange(output.shape[-2]) != head
        return output * {ops}.cast(keep, output.dtype)[:, None], scores

    attention._compute_attention = silenced
    return attention
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


def plan_option(attempt: Attempt) -> Planned:
    """Build layers without a nonlinearity or a penalty."""
    source, node, options = attempt.site.source, attempt.site.node, attempt.target.options
    layer = source.source(node.func).rpartition(".")[2] if isinstance(node, ast.Call) else ""
    value = given_options(node, layer)[options[OPTION]]
    return Planned(edits=(replace_node(source, value, options[NEW]),))


def keras_head(attempt: Attempt, head: int) -> tuple[str, str]:
    """Write the construction of attention layers without one head, and its helper."""
    names = library_names(attempt.evidence, attempt.site.source)
    text = f"without_head({attempt.site.source.source(attempt.site.node)}, {head})"
    return text, _WITHOUT_HEAD.replace("{ops}", names["ops"])
