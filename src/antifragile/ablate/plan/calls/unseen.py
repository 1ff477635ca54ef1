"""Code that the given inputs did not reach, and that an edit must leave in order.

A mask that is not given, a branch for other inputs, a method that nothing called: what they do was
not watched, so it is read off the text, and where in doubt an edit is the more careful one.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator

from antifragile.ablate.discovery.evidence import Evidence, dotted
from antifragile.ablate.plan.calls.other_names import may_have_other_names, shows_other_memory
from antifragile.ablate.source.syntax import SourceFile
from antifragile.ablate.trace.records import ModuleRun

_OF_EVERY_MODULE = re.compile(
    r"forward|train(ing)?|eval|to|cpu|cuda|half|float|double|apply|children|modules|parameters|"
    r"named_\w+|state_dict|load_state_dict|requires_grad_|zero_grad|register_\w+|buffers"
)


def must_be_copied(
    evidence: Evidence, source: SourceFile, node: ast.AST, kept: ast.expr | None = None
) -> bool:
    """Whether code nearby may write in place into what takes the place of an expression.

    Args:
        evidence: Source and execution.
        source: The file.
        node: The expression.
        kept: The one that takes its place; None where that is no expression of the file.
    """
    function = source.function_of(node)
    if function is None or (kept is not None and not is_known_elsewhere(source, kept)):
        return False
    statement, names = source.parents[node], set[str]()
    if kept is not None and isinstance(statement, ast.Assign):
        names = {ast.unparse(target) for target in statement.targets}
    later = followers(source, function, node)
    for writer in writers(function):
        number, name = source.number(writer), ast.unparse(receiver(writer))
        is_unseen = number is not None and evidence.run_of(source, writer) is None
        if name in (later if is_unseen else names):
            return True
    return False


def followers(source: SourceFile, function: ast.AST, node: ast.AST) -> set[str]:
    """Return the variables of a function whose values are made from an expression."""
    given = [(one.targets, one.value) for one in ast.walk(function) if isinstance(one, ast.Assign)]
    given += [([one.target], one.iter) for one in ast.walk(function) if isinstance(one, ast.For)]
    around = [node, *source.above(node)]
    found, size = set[str](), -1
    while len(found) != size:
        size = len(found)
        for targets, value in given:
            if value in around or names_in(value) & found:
                found.update(*map(names_in, targets))
    return found


def names_in(node: ast.AST) -> set[str]:
    """Return the names of variables in an expression."""
    return {one.id for one in ast.walk(node) if isinstance(one, ast.Name)}


def is_known_elsewhere(source: SourceFile, kept: ast.expr) -> bool:
    """Whether others may hold the tensor of an expression: a caller, another variable."""
    if isinstance(kept, ast.Name):
        return may_have_other_names(source, kept)
    return shows_other_memory(kept)


def writers(function: ast.AST) -> Iterator[ast.Call | ast.AugAssign]:
    """Yield the operators and method calls of a function that write in place: `x += y`, `x.mul_()`.

    Counting by a whole number is none.
    """
    for node in ast.walk(function):
        if isinstance(node, ast.AugAssign):
            is_count = isinstance(node.value, ast.Constant) and isinstance(node.value.value, int)
            if isinstance(node.target, ast.Name) and not is_count:
                yield node
        elif isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute):
            is_method = isinstance(node.func.value, ast.Name | ast.Subscript)
            if is_method and re.fullmatch(r"[a-z]\w*[a-z0-9]_", node.func.attr):
                yield node


def receiver(writer: ast.Call | ast.AugAssign) -> ast.expr:
    """Return the variable that is written to, subscripts left out."""
    node = writer.target if isinstance(writer, ast.AugAssign) else writer.func
    while isinstance(node, ast.Attribute | ast.Subscript):
        node = node.value
    assert isinstance(node, ast.expr)
    return node


def is_written_behind(evidence: Evidence, module: ModuleRun) -> bool:
    """Whether code that was not watched may write into what a module returns."""
    sites = [evidence.site(key) for key in module.used_at if key[0] in evidence.sources]
    return any(must_be_copied(evidence, site.source, site.node) for site in sites)


def reads_of(evidence: Evidence, module: ModuleRun) -> Iterator[str]:
    """Yield the attributes that the sources read from a module, as "weight" or "reset"."""
    for owner, _, path in evidence.owners(module):
        source, found = evidence.classes[owner]
        parts = dotted(path).split(".")
        chain = [part for part in parts if not part.isdigit()]
        places = [part for part in parts if part.isdigit()]
        for node in ast.walk(found):
            if not isinstance(node, ast.Attribute) or _OF_EVERY_MODULE.fullmatch(node.attr):
                continue
            text = source.source(node.value)
            indices, name = re.findall(r"\[([^\]]*)\]", text), re.sub(r"\[[^\]]*\]", "", text)
            fits = len(indices) == len(places) and all(map(could_be, indices, places))
            if chain and name == ".".join(["self", *chain]) and fits:
                yield node.attr


def could_be(index: str, place: str) -> bool:
    """Whether an index as written could be a place in a list: a variable could be any."""
    return index == place or not index.isdigit()
