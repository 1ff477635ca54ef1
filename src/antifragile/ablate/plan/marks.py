"""Edits of marked lines: the statement, summand or list item is removed."""

from __future__ import annotations

import ast
from collections.abc import Iterator

from antifragile.ablate.discovery.marks import marked_node
from antifragile.ablate.plan.attempt import Attempt
from antifragile.ablate.records import Edit, NoLegalEdit, Planned
from antifragile.ablate.source.edits import edit_at, operand_text, remove_statement
from antifragile.ablate.source.edits import replace as replace_node
from antifragile.ablate.source.syntax import SourceFile


def plan_marked(attempt: Attempt) -> Planned:
    """Remove the marked lines."""
    edits: list[Edit] = []
    for place in attempt.target.options["lines"].split(","):
        file, _, line = place.rpartition(":")
        source = attempt.evidence.sources[file]
        node = marked_node(source, int(line))
        if node is None:
            raise NoLegalEdit("the mark stands at no statement")
        edits.append(removal(source, node, int(line)))
    return Planned(edits=tuple(dict.fromkeys(edits)))


def removal(source: SourceFile, node: ast.AST, line: int) -> Edit:
    """Remove a statement, a summand, or an item of a list."""
    parent = source.parents.get(node)
    if isinstance(node, ast.stmt):
        if isinstance(node, ast.Return):
            raise NoLegalEdit("the mark stands at a return: mark a term of it on a line of its own")
        if any(name_is_needed(source, node)):
            raise NoLegalEdit("later lines use what the marked line makes: mark the use instead")
        return remove_statement(source, node)
    start, end = source.line_start(line), source.line_start(line + 1)
    text = source.text[start:end].strip()
    starts_with_sign = text[:1] in "+-" and isinstance(parent, ast.BinOp) and parent.right is node
    if starts_with_sign or not isinstance(parent, ast.BinOp):
        return edit_at(source, start, end, "")
    kept = parent.left if parent.right is node else parent.right
    return replace_node(source, parent, operand_text(source, kept, inside=parent))


def name_is_needed(source: SourceFile, statement: ast.stmt) -> Iterator[bool]:
    """Yield True for each name that only this statement binds and later code of its block reads."""
    if not isinstance(statement, ast.Assign):
        return
    scope = source.function_of(statement) or source.tree
    for target in statement.targets:
        if not isinstance(target, ast.Name):
            continue
        nodes = [n for n in ast.walk(scope) if isinstance(n, ast.Name) and n.id == target.id]
        arguments = [n.arg for n in ast.walk(scope) if isinstance(n, ast.arg)]
        others = [n for n in nodes if isinstance(n.ctx, ast.Store) and n.lineno < statement.lineno]
        reads = [n for n in nodes if isinstance(n.ctx, ast.Load) and n.lineno > statement.lineno]
        yield bool(reads) and not others and target.id not in arguments
