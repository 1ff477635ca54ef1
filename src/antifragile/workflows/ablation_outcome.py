"""What a study says while it runs and when it ends."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

Listener = Callable[["AblationProgress"], None]


@dataclass(frozen=True, kw_only=True)
class AblationProgress:
    """Where a study stands: runs ended of those wanted so far, and the last one."""

    ended: int
    wanted: int
    failed: int
    last: str
    seconds: float


@dataclass(frozen=True, kw_only=True)
class AblationOutcome:
    """What a call did.

    Args:
        manifest: Of the study, with all its runs.
        n_run: Runs that this call started.
        n_found: Runs that the store had.
        n_failed: Runs that failed in this call.
        seconds: Wall time.
    """

    manifest: dict[str, Any]
    n_run: int
    n_found: int
    n_failed: int
    seconds: float
