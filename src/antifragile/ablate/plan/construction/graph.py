"""Edits of Keras models: one layer of a finished functional model, and options of layers."""

from __future__ import annotations

import ast

from antifragile.ablate.discovery.construction.options import NEW, OPTION, given_options
from antifragile.ablate.discovery.graphs.layers import WHICH
from antifragile.ablate.plan.attempt import Attempt
from antifragile.ablate.plan.modules import filled_template, with_effects
from antifragile.ablate.plan.names import library_names, replaced
from antifragile.ablate.plan.operands import check_numbers, shape_pairs, shape_relations
from antifragile.ablate.records import AblationKind, Edit, NoLegalEdit, Planned
from antifragile.ablate.source.edits import replace as replace_node

_WITH_LAYER = '''def with_layer(model, change, **which):
    """Puts something else in the place of one layer of a finished model."""
    layer = model.get_layer(**which)
    new = change(layer)
    if new is layer:
        return model
    return {keras}.models.clone_model(model, clone_function=lambda it: new if it is layer else it)
'''
_WITHOUT_ACTIVATION = '''def without_activation(layer):
    """Takes the nonlinearity from a layer."""
    layer.activation = {keras}.activations.linear
    return layer
'''
_ONE_OF = '''class OneOf({layers}.Layer):
    """Stands where two tensors were merged: one of them alone."""

    def __init__(self, place, name):
        super().__init__(name=name)
        self.place = place
        self.supports_masking = True

    def call(self, inputs):
        return inputs[self.place]

    def compute_mask(self, inputs, mask=None):
        return None if mask is None else mask[self.place]
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
    """Change one layer of a model that is finished: all others stay the same objects."""
    if OPTION in attempt.target.options:
        return Planned(edits=finished(attempt, "without_activation(layer)", _WITHOUT_ACTIVATION))
    if attempt.target.operand is not None:
        return plan_graph_merge(attempt, attempt.target.operand)
    filled = filled_template(attempt, attempt.site.source, "layer")
    return with_effects(attempt, filled, finished(attempt, filled.text, filled.helper))


def finished(attempt: Attempt, new: str, helper: str = "") -> tuple[Edit, ...]:
    """Return the edits that put something in the place of one layer where the model is made."""
    return replaced(attempt, attempt.site.node, *in_finished_model(attempt, new, helper))


def in_finished_model(attempt: Attempt, new: str, helper: str) -> tuple[str, str]:
    """Write `with_layer(Model(...), lambda layer: new, name="block1_add")`, and the helpers."""
    source, which = attempt.site.source, attempt.target.options[WHICH]
    text = f"with_layer({source.source(attempt.site.node)}, lambda layer: {new}, {which})"
    helpers = [helper, _WITH_LAYER] if helper else [_WITH_LAYER]
    helper = "\n\n\n".join(code.rstrip() for code in helpers)
    for name, value in library_names(attempt.evidence, source).items():
        helper = helper.replace(f"{{{name}}}", value)
    return text, helper


def plan_graph_merge(attempt: Attempt, operand: str) -> Planned:
    """Leave one of the two tensors that a layer merges."""
    keeps_it = attempt.kind is AblationKind.REMOVE_BRANCH  # the operand of a residual is the skip
    kept = operand if keeps_it else {"0.0": "0.1", "0.1": "0.0"}[operand]
    if "same" not in shape_relations(shape_pairs(attempt.runs, kept)):
        raise NoLegalEdit("what would remain has another shape than the result")
    if kept == "0.1" and any(module.type.endswith(".Subtract") for module in attempt.modules):
        raise NoLegalEdit("what would remain is subtracted")
    check_numbers(attempt.runs, kept)
    lost = attempt.evidence.lost(attempt.runs, kept)
    edits = finished(attempt, f"OneOf({kept[-1]}, name=layer.name)", _ONE_OF)
    return Planned(edits=edits, cut_parameters=lost)


def plan_option(attempt: Attempt) -> Planned:
    """Build layers without a nonlinearity or a penalty."""
    source, node, options = attempt.site.source, attempt.site.node, attempt.target.options
    layer = source.source(node.func).rpartition(".")[2] if isinstance(node, ast.Call) else ""
    value = given_options(node, layer)[options[OPTION]]
    return Planned(edits=(replace_node(source, value, options[NEW]),))


def keras_head(attempt: Attempt, head: int) -> tuple[str, str]:
    """Write attention layers without one head, at their construction or in the model; a helper."""
    if WHICH in attempt.target.options:
        return in_finished_model(attempt, f"without_head(layer, {head})", _WITHOUT_HEAD)
    names = library_names(attempt.evidence, attempt.site.source)
    text = f"without_head({attempt.site.source.source(attempt.site.node)}, {head})"
    return text, _WITHOUT_HEAD.replace("{ops}", names["ops"])
