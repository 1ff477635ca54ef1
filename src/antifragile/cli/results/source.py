"""Opening the SOURCE that a verb of analysis was given."""

from __future__ import annotations

from antifragile.analysis.source import Source, open_source


def read_source(
    where: str, study: str | None, zero_r: float | None, *, needs_zero_r: bool = True
) -> Source:
    """Open a SOURCE; a verb that makes no use of ZeroR does not insist on it for a CSV.

    Raises:
        UsageError: A CSV without ``zero_r``, or with ``study``.
    """
    if zero_r is None and not needs_zero_r and where.lower().endswith(".csv"):
        zero_r = 0.0
    return open_source(where, study=study, zero_r=zero_r)
