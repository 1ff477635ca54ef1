"""Names by which a file calls its framework; imports and helper code put above an edit."""

from __future__ import annotations

import ast

from antifragile.ablate.discover.evidence import Evidence
from antifragile.ablate.frameworks.registry import framework_named
from antifragile.ablate.records import Edit
from antifragile.ablate.source.edits import insert_helper
from antifragile.ablate.source.syntax import SourceFile


def library_names(evidence: Evidence, source: SourceFile) -> dict[str, str]:
    """Return the names under which a file knows the parts of its framework, by placeholder."""
    framework = framework_named(evidence.trace.framework)
    return framework.placeholders(evidence.trace.aliases[source.file])


def needs_import(evidence: Evidence, source: SourceFile, text: str) -> bool:
    """Whether an inserted text names the framework in a file that does not import it."""
    library = evidence.trace.framework
    return f"{library}." in text and library not in evidence.trace.aliases[source.file]


def with_import(evidence: Evidence, source: SourceFile, helper: str, *texts: str) -> str:
    """Put the import of the framework above a helper where the file lacks it."""
    if any(needs_import(evidence, source, text) for text in (helper, *texts)):
        line = f"import {evidence.trace.framework}"
        return f"{line}\n\n\n{helper}" if helper else line
    return helper


def with_helper(
    evidence: Evidence, source: SourceFile, node: ast.AST, edit: Edit, helper: str = ""
) -> tuple[Edit, ...]:
    """Return an edit at a node, and one that puts its helper or a missing import above."""
    helper = with_import(evidence, source, helper, edit.text)
    return (edit, insert_helper(source, node, helper)) if helper else (edit,)
