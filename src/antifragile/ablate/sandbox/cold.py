"""Imports of variants by a Python that knows nothing of us but how to run a job.

A file that ran only because something of ours had been loaded would be no variant that a user can
take home. So a second server imports no framework for us, only the packages that the model's own
files name, and its children forget the little of ours that is there before they import a variant.
"""

from __future__ import annotations

import importlib
import traceback
from collections.abc import Sequence

from antifragile.ablate.sandbox.loading import hide


def import_variant(names: Sequence[str], hidden: Sequence[str]) -> str:
    """Import modules of the working folder.

    Args:
        names: The modules, in this order.
        hidden: Packages that must not be needed.

    Returns:
        The last line that Python says where an import fails, "" where none does.
    """
    hide(hidden)
    try:
        for name in names:
            importlib.import_module(name)
    except SystemExit as end:
        return end.code if isinstance(end.code, str) else f"exit code {end.code}" * bool(end.code)
    except Exception:
        return traceback.format_exc().strip().splitlines()[-1].strip()
    return ""
