"""Import of a variant in a Python of its own that has loaded nothing before; runs in children."""

from __future__ import annotations

import subprocess
import sys

from antifragile.ablate.sandbox import confinement
from antifragile.ablate.sandbox.loading import Refusal

_COLD = """
import gc, importlib, os, sys
gc.disable()
for package in {hidden!r}:
    sys.modules[package] = None
sys.dont_write_bytecode = True
{fence}
sys.path[:0] = {paths!r}
sys.argv[:] = {argv!r}
for name in {names!r}:
    importlib.import_module(name)
os._exit(0)  # what torch would do at exit takes half a second
"""


def import_cold(paths: list[str], names: list[str], hidden: list[str]) -> float:
    """Import modules in a Python of their own that has loaded nothing before.

    Args:
        paths: First folders of the import path.
        names: Modules, in this order.
        hidden: Packages that must not be needed.

    Raises:
        Refusal: The import failed; the reason is the last line that Python said.
    """
    script = _COLD.format(
        paths=paths, names=names, hidden=hidden, argv=sys.argv, fence=confinement.script()
    )
    ended = subprocess.run(
        [sys.executable, "-P", "-c", script], capture_output=True, text=True, check=False
    )
    if ended.returncode != 0:
        said = ended.stderr.strip().splitlines() or [f"exit code {ended.returncode}"]
        raise Refusal(f"a fresh Python cannot import it: {said[-1]}")
    return float(len(names))
