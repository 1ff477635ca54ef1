"""Architectures that a user asks for by name, as in ``--targets "1*2048,[2*128, 4*64]"``."""

from __future__ import annotations

import re
from collections.abc import Sequence

from antifragile.config.architecture import Architecture
from antifragile.errors import ArchitectureError, UsageError


def choose_architectures(present: Sequence[str], targets: Sequence[str]) -> list[str]:
    """The named architectures, in canonical spelling.

    Args:
        present: Architectures of the source.
        targets: Names that the user asked for.

    Raises:
        UsageError: One of them is not in the source.
        ArchitectureError: One of them is no architecture.
    """
    canonical = {Architecture.parse(name).name: name for name in present}
    chosen = []
    for target in targets:
        name = Architecture.parse(target).name
        if name not in canonical:
            shown = ", ".join(present[:12]) + (", ..." if len(present) > 12 else "")
            raise UsageError(
                f"no finished trial of {name} here; choose by --targets among {shown or 'none'}."
            )
        chosen.append(canonical[name])
    return chosen


def parse_targets(text: str) -> list[str]:
    """Split ``"1*2048,[2*128, 4*64]"`` at the commas outside brackets.

    Raises:
        ArchitectureError: Nothing is named.
    """
    parts = re.findall(r"(?:\[[^\]]*\]?|[^,\[])+", text)
    names = [part.strip() for part in parts if part.strip()]
    if not names:
        raise ArchitectureError("--targets names no architecture; write it as in 1*2048,18*18.")
    return names
