"""Names by which a file calls its framework; imports and helper code put above an edit."""

from __future__ import annotations

import ast

from antifragile.ablate.discovery.evidence import Evidence
from antifragile.ablate.frameworks.registry import framework_named
from antifragile.ablate.plan.attempt import Attempt
from antifragile.ablate.records import Edit
from antifragile.ablate.source.edits import insert_helper
from antifragile.ablate.source.edits import replace as replace_node
from antifragile.ablate.source.syntax import SourceFile


def library_names(evidence: Evidence, source: SourceFile) -> dict[str, str]:
    """Return the names under which a file knows the parts of its framework, by placeholder."""
    framework = framework_named(evidence.trace.framework)
    return framework.placeholders(evidence.trace.aliases[source.file])


def with_helper(
    evidence: Evidence, source: SourceFile, node: ast.AST, edit: Edit, helper: str = ""
) -> tuple[Edit, ...]:
    """Return an edit at a node, and one that puts its helper or a missing import above."""
    library = evidence.trace.framework
    is_named = any(f"{library}." in text for text in (helper, edit.text))
    if is_named and library not in evidence.trace.aliases[source.file]:
        helper = f"import {library}\n\n\n{helper}" if helper else f"import {library}"
    return (edit, insert_helper(source, node, helper)) if helper else (edit,)


def replaced(attempt: Attempt, node: ast.AST, text: str, helper: str = "") -> tuple[Edit, ...]:
    """Replace a node; add a helper above, with an import where it needs one."""
    source = attempt.site.source
    return with_helper(attempt.evidence, source, node, replace_node(source, node, text), helper)
