"""Other names of a tensor that an operator changes in place: a cut must leave them the same tensor.

`out = h; out += b(x)` changes h as well. Without the first operand the statement therefore becomes
`out[...] = b(x)`, not `out = b(x)`, after which h would still hold what was taken away.
"""

from __future__ import annotations

import ast

from antifragile.ablate.source.syntax import SourceFile

_VIEWS = (
    "view", "reshape", "flatten", "unflatten", "transpose", "permute", "squeeze", "unsqueeze", "t",
    "contiguous", "to", "expand", "chunk", "narrow", "select", "detach", "float", "type_as",
)  # fmt: skip


def changes_other_names(source: SourceFile, node: ast.AST) -> bool:
    """Whether an operator may change, in place, a tensor that has other names as well."""
    if isinstance(node, ast.AugAssign):
        return isinstance(node.target, ast.Name) and may_have_other_names(source, node.target)
    if not isinstance(node, ast.Call) or not isinstance(node.func, ast.Attribute):
        return False
    receiver = node.func.value
    if not node.func.attr.endswith("_"):
        return False
    return isinstance(receiver, ast.Name) and may_have_other_names(source, receiver)


def may_have_other_names(source: SourceFile, name: ast.Name) -> bool:
    """Whether a variable's tensor may be known elsewhere: an argument, a view, `keep = out`."""
    function = source.function_of(name)
    if function is None:
        return True
    before = [
        node
        for node in ast.walk(function)
        if isinstance(node, ast.Assign) and node.lineno <= name.lineno
    ]
    given = [one for one in before if name.id in map(ast.unparse, one.targets)]
    arguments = function.args
    of_caller = name.id in {
        one.arg for one in (*arguments.posonlyargs, *arguments.args, *arguments.kwonlyargs)
    }
    if of_caller and not any(one in function.body for one in given):
        return True  # what the caller gave, unless a branch gave it another value
    is_shared = any(len(one.targets) > 1 or shows_other_memory(one.value) for one in given)
    return not given or is_shared or any(ast.unparse(one.value) == name.id for one in before)


def shows_other_memory(value: ast.expr) -> bool:
    """Whether an expression is another variable, a part of one, or a view by its method's name."""
    if isinstance(value, ast.Call) and isinstance(value.func, ast.Attribute):
        return value.func.attr in _VIEWS
    return isinstance(value, ast.Name | ast.Attribute | ast.Subscript)
