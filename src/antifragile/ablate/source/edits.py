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
from itertools import accumulate, pairwise

from antifragile.ablate.records import Edit, NoLegalEdit
from antifragile.ablate.source.syntax import SourceFile
from antifragile.ablate.source.text import decoded, encoded, line_end, lines_of

_BARE_LINE_FEED = re.compile(r"(?<!\r)\n")
_FILE_COMMENT = re.compile(r"#!|#.*coding[:=]")  # those must stay the first lines of a file
_NUMBER = re.compile(r"(?:.*\W)?[0-9][0-9_]*", re.DOTALL)  # no attribute may follow it
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


def edited(content: bytes, edits: Sequence[Edit]) -> bytes:
    """Return the bytes of a file with edits of its text; all others stay.

    Raises:
        UnicodeEncodeError: The file's encoding lacks a character of an edit.
    """
    return encoded(apply_edits(decoded(content), edits), content) if edits else content


def smallest_edits(base: str, text: str, *, file: str) -> Iterator[Edit]:
    """Yield the smallest edits that turn a base into a text: whole lines, else single words.

    A planned edit may replace more than it changes: `x + f(x)` by `x` removes ` + f(x)` alone.
    Small edits of several variants overlap only where the variants really meet.
    """
    lines = lines_of(base), lines_of(text)
    for start, old, new in _changes(*lines, offset=0):
        parts = [(start, old, new)]
        if old and new:
            parts = list(_changes(_WORD.findall(old), _WORD.findall(new), offset=start))
        for place, before, after in parts:
            yield Edit(file=file, start=place, end=place + len(before), text=after)


def _changes(
    old: Sequence[str], new: Sequence[str], *, offset: int
) -> Iterator[tuple[int, str, str]]:
    """Yield the place, old text and new text wherever two lists of pieces differ."""
    places = list(accumulate(map(len, old), initial=offset))
    for tag, i1, i2, j1, j2 in SequenceMatcher(a=old, b=new, autojunk=False).get_opcodes():
        if tag != "equal":
            yield places[i1], "".join(old[i1:i2]), "".join(new[j1:j2])


def edit_at(source: SourceFile, start: int, end: int, text: str) -> Edit:
    """Replace a span of a file: its words stay apart, its lines end as those around them."""
    before, after = source.text[start - 1 : start], source.text[end : end + 1]
    end_of_line = line_end_at(source, start)
    if end_of_line != "\n":
        text = _BARE_LINE_FEED.sub(end_of_line, text)
    if is_word(before) and (is_word(text[:1]) or text[:1] in ("'", '"')):
        text = " " + text
    is_number = after == "." and _NUMBER.fullmatch(text) is not None
    if is_number or (is_word((text or before)[-1:]) and is_word(after)):
        text += " "
    return Edit(file=source.file, start=start, end=end, text=text)


def is_word(character: str) -> bool:
    """Whether a character belongs to a name, a keyword or a number; an empty text does not."""
    return bool(character) and f"_{character}".isidentifier()


def line_end_at(source: SourceFile, offset: int) -> str:
    """Return the end of the line at an offset; where that is the last, of the one before."""
    line, _ = source.line_column(offset)
    found = (line_end(text) for text in reversed(source.lines[max(line - 2, 0) : line]))
    return next(filter(None, found), "\n")


def replace(source: SourceFile, node: ast.AST, text: str) -> Edit:
    """Replace an expression, keeping the parentheses around it."""
    return edit_at(source, *source.place(node), text)


def operand_text(source: SourceFile, node: ast.AST, *, inside: ast.AST | None = None) -> str:
    """Return an expression's text, safe to stand where `inside` stood (None: anywhere).

    A sum in place of a sum needs no parentheses; a lambda or a comparison does, unless it has
    parentheses or commas on both sides already.
    """
    text = source.source(node)
    if not stands_alone(text):
        return f"({text})"
    is_number = isinstance(node, ast.UnaryOp) and isinstance(node.operand, ast.Constant)
    is_free = inside is not None and is_enclosed(source, inside)
    if isinstance(node, _ATOMS) or is_number or is_free:
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
    first = first_line(statement)
    assert statement.end_lineno is not None
    start, end = source.place(statement)
    if first < statement.lineno:
        start = source.line_start(first) + len(indent_of(source, statement))
    block = block_of(source, statement)
    shares_line = any(
        other is not statement
        and (other.lineno == statement.end_lineno or other.end_lineno == statement.lineno)
        for other in block
    )
    if len(block) == 1 or shares_line or on_header_line(source, statement):
        return edit_at(source, start, end, "pass")
    last = source.line_start(statement.end_lineno + 1)
    return edit_at(source, source.line_start(first), last, "")


def first_line(statement: ast.stmt) -> int:
    """Return the line at which a statement begins, decorators included."""
    decorators: list[ast.expr] = getattr(statement, "decorator_list", [])
    return min([statement.lineno, *(item.lineno for item in decorators)])


def on_header_line(source: SourceFile, statement: ast.stmt) -> bool:
    """Whether a statement stands behind a colon: `if x: y = 1`."""
    before = source.text[source.line_start(statement.lineno) : source.place(statement)[0]]
    return bool(before.strip())


def block_of(source: SourceFile, statement: ast.stmt) -> list[ast.stmt]:
    """Return the statements of the block that holds a statement."""
    parent = source.parents[statement]
    blocks = (getattr(parent, part, None) for part in ("body", "orelse", "finalbody"))
    found = (block for block in blocks if isinstance(block, list) and statement in block)
    return next(found, [statement])


def indent_of(source: SourceFile, statement: ast.stmt) -> str:
    """Return the white space before a statement."""
    line = source.lines[statement.lineno - 1]
    return line[: len(line) - len(line.lstrip(" \t\f"))]


def insert_before(source: SourceFile, statement: ast.stmt, code: str) -> Edit:
    """Add lines above a statement, at its indentation."""
    lines = textwrap.indent(code, indent_of(source, statement)) + "\n"
    start = source.line_start(first_line(statement))
    if on_header_line(source, statement):
        start, lines = source.place(statement)[0], "; ".join(code.splitlines()) + "; "
    return edit_at(source, start, start, lines)


def insert_after(source: SourceFile, statement: ast.stmt, code: str) -> Edit:
    """Add lines below a statement, at its indentation; behind it where its block is one line.

    Raises:
        NoLegalEdit: A block cannot stand there.
    """
    assert statement.end_lineno is not None
    parent = source.parents[statement]
    if isinstance(parent, ast.stmt) and parent.lineno == statement.lineno:
        if code.rstrip().count("\n"):
            raise NoLegalEdit("its block stands on the line of its heading")
        end = source.place(statement)[1]
        return edit_at(source, end, end, f"; {code.strip()}")
    lines, last = textwrap.indent(code, indent_of(source, statement)) + "\n", statement.end_lineno
    for other in block_of(source, statement):  # those behind a semicolon
        last = max(last, other.end_lineno or 0) if other.lineno == last else last
    start = source.line_start(last + 1)
    if start == len(source.text) and not line_end(source.lines[-1]):
        lines = "\n" + lines.rstrip("\n")
    return edit_at(source, start, start, lines)


def insert_helper(source: SourceFile, node: ast.AST, code: str) -> Edit:
    """Put a class or function above the top-level statement that holds a node."""
    statement = node
    while source.parents[statement] is not source.tree:
        statement = source.parents[statement]
    assert isinstance(statement, ast.stmt)
    line, lines = first_line(statement), source.lines
    while line > 1 and lines[line - 2].startswith("#") and not _FILE_COMMENT.match(lines[line - 2]):
        line -= 1
    start = source.line_start(line)
    return edit_at(source, start, start, code.strip("\n") + "\n\n\n")


def first_statement(function: ast.FunctionDef) -> ast.stmt:
    """Return the first statement of a function behind its docstring."""
    first, *others = function.body
    is_text = isinstance(first, ast.Expr) and isinstance(first.value, ast.Constant)
    return others[0] if is_text and others else first
