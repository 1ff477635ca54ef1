"""Ablation by source code: discover components, write one readable variant each, certify it.

The way through: `discovery` (source joined with one traced execution) -> `plan` -> `generation`
(one folder per variant, the user's own files edited by a span) -> `certify` (each variant proved in
a process of its own). What happens after certified variants lie on disk is in `study`.

The verbs are functions too, with the options of the command line, and return frozen records that
have a ``frame()``; they are imported when first used, since a study needs pandas and scipy.
"""

from __future__ import annotations

from antifragile._lazy import lazy_names

TYPE_CHECKING = False  # type checkers know this name

if TYPE_CHECKING:
    from antifragile.ablate.study.verbs import outlook, report, run
    from antifragile.ablate.verbs import discover, generate

__all__ = ["discover", "generate", "outlook", "report", "run"]

_HOMES = {
    "discover": "verbs",
    "generate": "verbs",
    "outlook": "study.verbs",
    "report": "study.verbs",
    "run": "study.verbs",
}


__getattr__, __dir__ = lazy_names(__name__, _HOMES)
