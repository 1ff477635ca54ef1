"""Edits of a source text by spans; all text outside them stays byte for byte.

An `Edit` replaces characters start..end of one file. The functions here keep the result legal
Python: parentheses where an operand needs them, `pass` where a block would be empty, a helper above
the code that uses it, a statement added behind another.
"""

from __future__ import annotations

import ast
import re
import textwrap
from collections.abc import Iterable, Iterator, Sequence
from difflib import SequenceMatcher
from itertools import pairwise

from antifragile.ablate.records import Edit
from antifragile.ablate.source.syntax import SourceFile

_WORD = re.compile(r"\w+|[^\S\n]+|\n|.", re.DOTALL)
_ATOMS = (
    *(ast.Name, ast.Attribute, ast.Subscript, ast.Call, ast.Constant),
    *(ast.List, ast.Dict, ast.Set, ast.ListComp, ast.SetComp, ast.DictComp),
)


def apply_edits(text: str, edits: Iterable[Edit]) -> str:
    """Return the text with the edits applied, which must not overlap."""
    ordered = sorted(edits, key=lambda edit: (edit.start, edit.end))
    for one, two in pairwise(ordered):
        assert one.end <= two.start, f"edits overlap at {two.start}"
    for edit in reversed(ordered):
        text = text[: edit.start] + edit.text + text[edit.end :]
    return text


def smallest_edits(base: str, text: str, *, file: str) -> Iterator[Edit]:
    """Yield the smallest edits that turn a base into a text: whole lines, else single words.

    A planned edit may replace more than it changes: `x + f(x)` by `x` removes ` + f(x)` alone.
    Small edits of several variants overlap only where the variants really meet.
    """
    old, new = base.splitlines(keepends=True), text.splitlines(keepends=True)
    starts = [0]
    for line in old:
        starts.append(starts[-1] + len(line))
    for tag, i1, i2, j1, j2 in SequenceMatcher(a=old, b=new, autojunk=False).get_opcodes():
        if tag == "replace":
            yield from _word_edits(old[i1:i2], new[j1:j2], starts[i1], file)
        elif tag != "equal":
            yield Edit(file=file, start=starts[i1], end=starts[i2], text="".join(new[j1:j2]))


def _word_edits(old: Sequence[str], new: Sequence[str], offset: int, file: str) -> Iterator[Edit]:
    before, after = _WORD.findall("".join(old)), _WORD.findall("".join(new))
    places = [offset]
    for word in before:
        places.append(places[-1] + len(word))
    for tag, i1, i2, j1, j2 in SequenceMatcher(a=before, b=after, autojunk=False).get_opcodes():
        if tag != "equal":
            yield Edit(file=file, start=places[i1], end=places[i2], text="".join(after[j1:j2]))


def replace(source: SourceFile, node: ast.AST, text: str) -> Edit:
    """Replace an expression, keeping the parentheses around it."""
    start, end = source.place(node)
    return Edit(file=source.file, start=start, end=end, text=text)


def operand_text(source: SourceFile, node: ast.AST, *, inside: ast.AST | None = None) -> str:
    """Return an expression's text, safe to stand where `inside` stood (None: anywhere).

    A sum in place of a sum needs no parentheses; a lambda or a comparison does, unless it has
    parentheses or commas on both sides already.
    """
    text = source.source(node)
    if not stands_alone(text):
        return f"({text})"
    is_number = isinstance(node, ast.UnaryOp) and isinstance(node.operand, ast.Constant)
    if (
        isinstance(node, _ATOMS)
        or is_number
        or (inside is not None and is_enclosed(source, inside))
    ):
        return text
    if isinstance(node, ast.BinOp) and isinstance(inside, ast.BinOp):
        is_tight = isinstance(node.op, ast.Mult | ast.Div | ast.MatMult | ast.Pow)
        if is_tight or not isinstance(source.parents[inside], ast.BinOp):
            return text
    return f"({text})"


def is_enclosed(source: SourceFile, node: ast.AST) -> bool:
    """Whether any expression may stand where a node stands: an argument, a right-hand side."""
    parent = source.parents[node]
    if isinstance(parent, ast.Call):
        return node is not parent.func and len(parent.args) + len(parent.keywords) > 0
    return isinstance(parent, ast.Assign | ast.Return | ast.keyword | ast.Expr)


def stands_alone(text: str) -> bool:
    """Whether an expression parses without brackets around it, line breaks and all."""
    try:
        ast.parse(text, mode="eval")
    except SyntaxError:
        return False
    return True


def remove_statement(source: SourceFile, statement: ast.stmt) -> Edit:
    """Remove the lines of a statement; a block that would become empty gets `pass`."""
    decorators = getattr(statement, "decorator_list", [])
    first = min([statement.lineno, *(item.lineno for item in decorators)])
    assert statement.end_lineno is not None
    start, end = source.place(statement)
    if decorators:
        start = source.line_start(first) + len(indent_of(source, statement))
    block = block_of(source, statement)
    shares_line = any(
        other is not statement
        and (other.lineno == statement.end_lineno or other.end_lineno == statement.lineno)
        for other in block
    )
    if len(block) == 1 or shares_line or on_header_line(source, statement):
        return Edit(file=source.file, start=start, end=end, text="pass")
    last = source.line_start(statement.end_lineno + 1)
    return Edit(file=source.file, start=source.line_start(first), end=last, text="")


def on_header_line(source: SourceFile, statement: ast.stmt) -> bool:
    """Whether a statement stands behind a colon: `if x: y = 1`."""
    before = source.text[source.line_start(statement.lineno) : source.place(statement)[0]]
    return bool(before.strip())


def block_of(source: SourceFile, statement: ast.stmt) -> list[ast.stmt]:
    """Return the statements of the block that holds a statement."""
    parent = source.parents[statement]
    for part in ("body", "orelse", "finalbody"):
        block = getattr(parent, part, [])
        if isinstance(block, list) and statement in block:
            return block
    return [statement]


def indent_of(source: SourceFile, statement: ast.stmt) -> str:
    """Return the white space before a statement."""
    line = source.text[source.line_start(statement.lineno) :]
    return line[: len(line) - len(line.lstrip(" \t"))]


def insert_before(source: SourceFile, statement: ast.stmt, code: str) -> Edit:
    """Add lines above a statement, at its indentation."""
    lines = textwrap.indent(code, indent_of(source, statement)) + "\n"
    start = source.line_start(statement.lineno)
    if on_header_line(source, statement):
        start, lines = source.place(statement)[0], "; ".join(code.splitlines()) + "; "
    return Edit(file=source.file, start=start, end=start, text=lines)


def insert_after(source: SourceFile, statement: ast.stmt, code: str) -> Edit:
    """Add lines below a statement, at its indentation."""
    assert statement.end_lineno is not None
    lines = textwrap.indent(code, indent_of(source, statement)) + "\n"
    start = source.line_start(statement.end_lineno + 1)
    if start == len(source.text) and not source.text.endswith("\n"):
        lines = "\n" + lines.rstrip("\n")
    return Edit(file=source.file, start=start, end=start, text=lines)


def insert_helper(source: SourceFile, node: ast.AST, code: str) -> Edit:
    """Put a class or function above the top-level statement that holds a node."""
    statement = node
    while source.parents[statement] is not source.tree:
        statement = source.parents[statement]
    assert isinstance(statement, ast.stmt)
    decorators = getattr(statement, "decorator_list", [])
    line = min([statement.lineno, *(item.lineno for item in decorators)])
    lines = source.text.splitlines()
    while line > 1 and lines[line - 2].startswith("#"):
        line -= 1
    start = source.line_start(line)
    return Edit(file=source.file, start=start, end=start, text=code.strip("\n") + "\n\n\n")


def is_docstring(statement: ast.stmt) -> bool:
    """Whether a statement is a text alone."""
    return isinstance(statement, ast.Expr) and isinstance(statement.value, ast.Constant)


def first_statement(function: ast.FunctionDef) -> ast.stmt:
    """Return the first statement of a function behind its docstring."""
    body = function.body
    return body[1] if is_docstring(body[0]) and len(body) > 1 else body[0]
