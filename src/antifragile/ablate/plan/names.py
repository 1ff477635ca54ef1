"""Names by which a file calls its framework, and the import that it may lack."""

from __future__ import annotations

from antifragile.ablate.discover.evidence import Evidence
from antifragile.ablate.frameworks.registry import framework_named
from antifragile.ablate.source.syntax import SourceFile


def spaces(evidence: Evidence, source: SourceFile) -> dict[str, str]:
    """Return how a file calls torch, torch.nn and torch.nn.functional."""
    framework = framework_named(evidence.trace.framework)
    return framework.placeholders(evidence.trace.aliases[source.file])


def needs_import(evidence: Evidence, source: SourceFile, text: str) -> bool:
    """Whether an inserted text names torch in a file that does not import it."""
    library = evidence.trace.framework
    return f"{library}." in text and library not in evidence.trace.aliases[source.file]


def with_import(evidence: Evidence, source: SourceFile, helper: str, *texts: str) -> str:
    """Put `import torch` above a helper where the file lacks it."""
    if any(needs_import(evidence, source, text) for text in (helper, *texts)):
        line = f"import {evidence.trace.framework}"
        return f"{line}\n\n\n{helper}" if helper else line
    return helper
