"""Edits of a library's transformer layers where they are built: hooks on parts, arguments."""

from __future__ import annotations

import ast

from antifragile.ablate.plan.attempt import Attempt
from antifragile.ablate.plan.names import library_names, with_helper
from antifragile.ablate.plan.operands import is_exposed
from antifragile.ablate.records import AblationKind, Edit, Planned
from antifragile.ablate.source.edits import replace as replace_node
from antifragile.ablate.source.syntax import SourceFile

_HELPERS = {
    AblationKind.IDENTITY: '''def bypassed_part(layer, name):
    """Passes the input of one part of a layer on unchanged; its parameters stay."""
    {unfused}layer.get_submodule(name).register_forward_hook(lambda part, args, output: args[0])
    return layer
''',
    AblationKind.ZERO: '''def silenced_part(layer, name):
    """Makes what one branch of a layer adds zero; its parameters stay and get no gradient."""

    def zeros(part, args, output):
        return {torch}.zeros_like(output)

    {unfused}layer.get_submodule(name).register_forward_hook(zeros)
    return layer
''',
}
_NAMES = {AblationKind.IDENTITY: "bypassed_part", AblationKind.ZERO: "silenced_part"}
_UNFUSED = "layer.activation_relu_or_gelu = 0  # no fused kernel: it calls no parts\n    "


def plan_part(attempt: Attempt) -> Planned:
    """Change an argument of the construction, or wrap it so that one part is left out."""
    if "argument" in attempt.target.options:
        return plan_argument(attempt)
    evidence, options, kind = attempt.evidence, attempt.target.options, attempt.kind
    source, node = attempt.site.source, attempt.site.node
    words = library_names(evidence, source)
    fuses = options["layer"] == "TransformerEncoderLayer"
    helper = _HELPERS[kind].replace("{torch}", words["torch"])
    helper = helper.replace("{unfused}", _UNFUSED if fuses else "")
    text = f'{_NAMES[kind]}({source.source(node)}, "{options["inner"]}")'
    runs = [evidence.module(int(number)) for number in options["numbers"].split(",")]
    if is_exposed(runs, "0"):
        helper = helper.replace("output: args[0])", "output: args[0].clone())")
    return Planned(
        edits=with_helper(evidence, source, node, replace_node(source, node, text), helper),
        cut_parameters=evidence.lost(runs, "0" if kind is AblationKind.IDENTITY else ""),
    )


def plan_argument(attempt: Attempt) -> Planned:
    """Build a layer without dropout, or without a nonlinearity."""
    evidence, options = attempt.evidence, attempt.target.options
    source, call = attempt.site.source, attempt.site.node
    assert isinstance(call, ast.Call)
    nn = library_names(evidence, source)["nn"]
    text = {"dropout": "0.0", "activation": f"{nn}.Identity()"}[options["argument"]]
    edit = with_argument(source, call, options["argument"], int(options["place"]), text)
    return Planned(edits=with_helper(evidence, source, call, edit))


def with_argument(source: SourceFile, call: ast.Call, name: str, place: int, text: str) -> Edit:
    """Give a call another value for an argument, or the argument where it has none."""
    given = next((item.value for item in call.keywords if item.arg == name), None)
    if given is None and len(call.args) > place:
        given = call.args[place]
    if given is not None:
        return replace_node(source, given, text)
    last = max([*call.args, *call.keywords], key=lambda item: source.place(item)[1])
    end = source.place(last)[1]
    return Edit(file=source.file, start=end, end=end, text=f", {name}={text}")
