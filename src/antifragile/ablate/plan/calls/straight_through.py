"""Straight-through estimators: sums that are none in value, only in their gradient."""

from __future__ import annotations

import ast

from antifragile.ablate.discovery.evidence import SeenSite
from antifragile.ablate.records import NoLegalEdit


def check_forward_value(site: SeenSite) -> None:
    """Refuse `(round(q) - q).detach() + q`, whose two q cancel: it passes gradients straight on."""
    source = site.source
    outer = [site.node, *(node for node in source.above(site.node) if isinstance(node, ast.BinOp))]
    for node in outer:
        if not isinstance(node, ast.BinOp) or not isinstance(node.op, ast.Add):
            continue
        for one, other in ((node.left, node.right), (node.right, node.left)):
            inner = detached(one)
            if not isinstance(inner, ast.BinOp) or not isinstance(inner.op, ast.Sub):
                continue
            if ast.unparse(inner.right) == ast.unparse(other):
                raise NoLegalEdit(
                    f"a straight-through estimator: its value is {ast.unparse(inner.left)}, and "
                    f"{ast.unparse(other)} only passes the gradient on"
                )


def detached(node: ast.expr) -> ast.expr | None:
    """Return the expression before `.detach()`."""
    if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute):
        return node.func.value if node.func.attr == "detach" else None
    return None
