"""What a study says while it runs and when it ends."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

Listener = Callable[["AblationProgress"], None]


@dataclass(frozen=True, kw_only=True)
class AblationProgress:
    """Where a study stands: what ended of what is wanted so far, and the last one.

    Args:
        ended: Runs that ended, or combinations that were judged.
        wanted: How many there will be.
        failed: Runs that failed in this call.
        last: Which ended last, for people.
        seconds: Since the call began.
        what: Is counted.
    """

    ended: int
    wanted: int
    failed: int
    last: str
    seconds: float
    what: str = "runs"


@dataclass(frozen=True, kw_only=True)
class AblationOutcome:
    """What a call did.

    Args:
        manifest: Of the study, with all its runs.
        n_run: Runs that this call started.
        n_found: Runs that the store had.
        n_failed: Runs that failed in this call.
        n_refused: Runs that were not started, as their combination has no certificate.
        seconds: Wall time.
    """

    manifest: dict[str, Any]
    n_run: int
    n_found: int
    n_failed: int
    n_refused: int
    seconds: float
