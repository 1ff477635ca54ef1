"""Lines marked with the comment `# ablate: name`, as components."""

from __future__ import annotations

import ast
from collections.abc import Iterator

from antifragile.ablate.discovery.evidence import Evidence
from antifragile.ablate.records import (
    MARK_PREFIX,
    AblationKind,
    Component,
    ComponentKind,
    Target,
)
from antifragile.ablate.source.syntax import SourceFile


def marked_targets(evidence: Evidence) -> Iterator[Target]:
    """Yield the lines marked `# ablate: name`; marks of one name are one component."""
    found: dict[str, list[tuple[SourceFile, int]]] = {}
    for source in evidence.sources.values():
        for name, line in source.marks:
            found.setdefault(name or f"line {line}", []).append((source, line))
    for name, places in found.items():
        source, line = places[0]
        node = marked_node(source, line)
        ran = any(has_run(evidence, place, marked_node(place, at)) for place, at in places)
        component = Component(
            name=f"{MARK_PREFIX}{name}",
            kind=ComponentKind.MARKED,
            span=source.span(node or source.tree.body[0]),
            ran=ran,
            calls=int(ran),
            kinds=(AblationKind.DISABLE,) if node else (),
            reason=None if node else "the mark stands at no statement",
        )
        lines = ",".join(f"{place.file}:{at}" for place, at in places)
        yield Target(component=component, options={"lines": lines})


def marked_node(source: SourceFile, line: int) -> ast.AST | None:
    """Return the code that a mark means: a term or item on its line, the statement, or the next."""
    statements = [node for node in ast.walk(source.tree) if isinstance(node, ast.stmt)]
    around = [s for s in statements if s.lineno <= line <= (s.end_lineno or s.lineno)]
    behind = source.lines[line - 1].strip()
    if behind.startswith("#"):
        below = [item for item in statements if item.lineno > line]
        return min(below, key=lambda item: (item.lineno, -(item.end_lineno or 0)), default=None)
    statement = max(around, key=lambda item: item.lineno, default=None)
    if statement is None:
        return None
    is_block = isinstance(statement, ast.If | ast.For | ast.While | ast.With | ast.FunctionDef)
    return statement if is_block else marked_part(statement, line) or statement


def marked_part(statement: ast.stmt, line: int) -> ast.AST | None:
    """Return the summand or list item that lies on one line of a longer statement."""
    if statement.lineno == statement.end_lineno:
        return None
    for node in ast.walk(statement):
        parts: list[ast.expr] = []
        if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Add | ast.Sub):
            parts = [node.right]
        elif isinstance(node, ast.List | ast.Tuple):
            parts = node.elts
        for part in parts:
            if part.lineno == line == part.end_lineno:
                return part
    return None


def has_run(evidence: Evidence, source: SourceFile, node: ast.AST | None) -> bool:
    """Whether a marked place ran; a place without a site counts as run when its function did."""
    while node is not None and node is not source.tree:
        sites = [item for item in ast.walk(node) if source.number(item) is not None]
        if sites:
            runs = [evidence.run_of(source, site) for site in sites]
            return any(run is not None and (run.ran or run.other_calls) for run in runs)
        node = source.parents[node]
    return False
