"""Labels among a model's inputs: what only a loss reads is no part of the model."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator

from antifragile.ablate.trace.records import Value

_LABELS = re.compile(r"labels?|targets?|y_true|(.+_)(labels?|targets?)")
_LOSS = re.compile(r"loss|criterion|cross_entropy|objective|\b(bce|mse|nll|ctc)\b", re.IGNORECASE)
_EMBEDDING = re.compile(r"emb", re.IGNORECASE)


def is_label(model: ast.ClassDef, name: str, value: Value) -> bool:
    """Whether a loss is all that an input is for.

    It is when each use of it in ``forward`` ends in the call of a loss. An input of whole numbers
    that is named as labels are is one too, unless an embedding is asked for it.

    Args:
        model: The model's class.
        name: The argument of its ``forward``.
        value: The input that was given.
    """
    function = next(
        item for item in model.body if isinstance(item, ast.FunctionDef) and item.name == "forward"
    )
    calls = list(calls_given(function, name))
    if calls and all(_LOSS.search(callee) for callee in calls):
        return True
    is_named = _LABELS.fullmatch(name) is not None and not value.is_floating
    return is_named and not any(_EMBEDDING.search(callee) for callee in calls)


def calls_given(function: ast.FunctionDef, name: str) -> Iterator[str]:
    """Yield what reads a name or a copy of it: the callee of the call, "" for other code."""
    parents = {child: node for node in ast.walk(function) for child in ast.iter_child_nodes(node)}
    names, seen = [name], set[str]()
    while names:
        known = names.pop()
        seen.add(known)
        for node in ast.walk(function):
            if not isinstance(node, ast.Name) or node.id != known:
                continue
            if not isinstance(node.ctx, ast.Load):
                continue
            use = use_of(parents, node)
            if isinstance(use, ast.Call):
                yield ast.unparse(use.func)
            elif isinstance(use, ast.Assign):
                copies = [item.id for item in use.targets if isinstance(item, ast.Name)]
                names += [copy for copy in copies if copy not in seen]
                if len(copies) < len(use.targets):
                    yield ""
            elif not isinstance(use, ast.Compare):
                yield ""


def use_of(parents: dict[ast.AST, ast.AST], node: ast.AST) -> ast.AST:
    """Climb from a name over its slices and views to the call or statement that uses it."""
    while True:
        above = parents[node]
        is_view = isinstance(above, ast.Subscript | ast.Attribute) and above.value is node
        is_method = isinstance(above, ast.Call) and above.func is node
        if not (is_view or is_method):
            return above
        node = above
