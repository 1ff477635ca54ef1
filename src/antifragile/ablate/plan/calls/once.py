"""Expressions of the model that an edit writes more than once, each of them evaluated only once.

`f(self.norm(x))` may become `resample((given := self.norm(x)), f(given).shape[1:])`: written out
twice, the norm would count its batches twice, and a dropout would draw twice.
"""

from __future__ import annotations

import ast
import re
from collections import Counter
from collections.abc import Iterable, Mapping
from itertools import chain, count
from string import Formatter

from antifragile.ablate.discovery.arithmetic import operand_nodes
from antifragile.ablate.discovery.evidence import SeenSite
from antifragile.ablate.plan.catalogue import Template
from antifragile.ablate.records import NoLegalEdit
from antifragile.ablate.source.syntax import SourceFile, is_one_item
from antifragile.ablate.trace.records import Callee

_WORD = re.compile(r"[^\W\d]\w*")


def is_plain(node: ast.AST) -> bool:
    """Whether an expression may be written twice: a constant, a name, its attributes, one item."""
    while isinstance(node, ast.Attribute | ast.Subscript):
        if isinstance(node, ast.Subscript) and not is_one_item(node.slice):
            return False
        node = node.value
    return isinstance(node, ast.Name) or is_literal(node)


def is_literal(node: ast.AST) -> bool:
    """Whether an expression is a constant, or made of nothing else: `(0, -1)`."""
    inside = (ast.Constant, ast.Tuple, ast.List, ast.UnaryOp, ast.expr_context, ast.unaryop)
    return all(isinstance(part, inside) for part in ast.walk(node))


def repeated_arguments(site: SeenSite, template: Template, operand: str) -> list[ast.expr]:
    """Return the arguments of a call that a template writes more than once, {call} included.

    Args:
        site: The call.
        template: The template.
        operand: The argument that is {input}.
    """
    fields = Formatter().parse(template.replacement)
    written = Counter(name for _, name, _, _ in fields if name is not None)
    found = []
    for key, item in operand_nodes(site.node).items():
        words = placeholders_of(site, template, key, operand)
        if written["call"] + sum(written[word] for word in words) > 1:
            found.append(item)
    return found


def placeholders_of(site: SeenSite, template: Template, key: str, operand: str) -> set[str]:
    """Return the placeholders that stand for one argument; parameters as `repeated_arguments`."""
    is_method = "self" in operand_nodes(site.node) and site.run.callee is Callee.METHOD
    keys = ["self", *map(str, range(9))] if is_method else list(map(str, range(10)))
    named = {name for name, place in zip(template.arguments, keys, strict=False) if place == key}
    return {key, *named, *(["input"] if key == operand else [])}


def names_for(
    source: SourceFile, node: ast.AST, repeated: Iterable[ast.AST], text: str = ""
) -> dict[ast.AST, str]:
    """Return a free name for each argument of a call that is not plain.

    Args:
        source: The file.
        node: The call.
        repeated: The arguments that an edit writes more than once.
        text: Further text of the edit, whose words are not free.

    Raises:
        NoLegalEdit: It cannot be bound to a name there, or not without another order.
    """
    found = [item for item in repeated if not is_plain(item)]
    if not found:
        return {}
    if any(isinstance(item, ast.Starred) for item in found):
        raise NoLegalEdit("its input is not written as an argument of its own")
    if any(isinstance(above, ast.comprehension) for above in source.above(node)):
        raise NoLegalEdit("its input is computed where it can be given no name")
    last = max(source.place(item)[0] for item in found)
    arguments = [*node.args, *node.keywords] if isinstance(node, ast.Call) else []
    values = [item.value if isinstance(item, ast.keyword) else item for item in arguments]
    earlier = (item for item in values if source.place(item)[0] < last)
    if not all(item in found or is_plain(item) for item in earlier):
        raise NoLegalEdit("its input is computed after another argument: give that one a name")
    taken, numbered = set(_WORD.findall(f"{source.text} {text}")), (f"given_{n}" for n in count(2))
    free = (name for name in chain(["given"], numbered) if name not in taken)
    return {item: next(free) for item in found}


def text_with(source: SourceFile, node: ast.AST, names: Mapping[ast.AST, str]) -> str:
    """Return the text of a call with names in the place of some of its arguments."""
    first, _ = source.place(node)
    text = source.source(node)
    for item in sorted(names, key=source.place, reverse=True):
        start, end = (offset - first for offset in source.place(item))
        text = text[:start] + names[item] + text[end:]
    return text


def bound(source: SourceFile, text: str, names: Mapping[ast.AST, str]) -> str:
    """Put each expression where its name is written first: `(given := self.norm(x))`."""
    for item, name in names.items():
        written = f"({name} := {source.source(item)})"
        text = re.sub(rf"\b{name}\b", written.replace("\\", r"\\"), text, count=1)
    return text
