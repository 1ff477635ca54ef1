"""Imports of variants by a Python that has never loaded this package; runs in children.

    fresh Python -> the packages that all of them import, once -> one fork per variant: its files

A file that ran only because something of ours had been loaded would be no variant that a user can
take home. What the packages load is loaded by the model's own files too.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from antifragile.ablate.sandbox import confinement
from antifragile.ablate.sandbox.home import private_home
from antifragile.ablate.sandbox.loading import Refusal

_COLD = """
import contextlib, gc, importlib, json, os, sys, traceback
gc.disable()
for package in {hidden!r}:
    sys.modules[package] = None
sys.dont_write_bytecode = True
{fence}
answers = os.dup(1)
os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
for module, _, name in (package.partition(":") for package in {packages!r}):
    with contextlib.suppress(Exception, SystemExit):
        found = importlib.import_module(module)
        if name and not hasattr(found, name):
            importlib.import_module(module + "." + name)

def imported(folder, paths, names, script, home):
    os.chdir(folder)
    os.environ.update(home)
    sys.path[:0] = paths
    sys.argv[:] = [script]
    for name in names:
        importlib.import_module(name)

def said_by_fork(variant):
    ours, theirs = os.pipe()
    child = os.fork()
    if not child:
        os.dup2(theirs, 2)
        try:
            imported(**variant)
        except SystemExit as end:
            if end.code:
                print(end.code if isinstance(end.code, str) else "", file=sys.stderr)
                os._exit(1)
        except BaseException:
            traceback.print_exc()
            os._exit(1)
        os._exit(0)  # what torch would do at exit takes half a second
    os.close(theirs)
    with os.fdopen(ours, errors="replace") as said:
        lines = said.read().split(chr(10))
    code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    words = [line.strip() for line in lines if line.strip()] or ["exit code %d" % code]
    return words[-1] if code else ""

os.write(answers, json.dumps([said_by_fork(one) for one in {variants!r}]).encode())
os._exit(0)
"""


@dataclass(frozen=True, kw_only=True)
class ColdImport:
    """Modules of a variant in a copy of its own, to be imported by a fresh Python.

    Args:
        folder: The copy, which becomes the working folder.
        paths: First folders of the import path.
        names: The modules, in this order.
        script: The one word of `sys.argv`.
    """

    folder: str
    paths: Sequence[str]
    names: Sequence[str]
    script: str


def import_cold(
    variants: list[dict[str, Any]], packages: list[str], hidden: list[str]
) -> list[str]:
    """Import the modules of variants, each in a fork of one Python that knows nothing of us.

    Every fork has a home of its own.

    Args:
        variants: Fields of a `ColdImport` each.
        packages: Modules that may be imported before the forks, as `preload` names them.
        hidden: Packages that must not be needed.

    Returns:
        For each variant the last line that Python said where the import failed, "" where not.

    Raises:
        Refusal: The fresh Python itself ended.
    """
    with_homes = [{**one, "home": private_home(Path(tempfile.mkdtemp()))} for one in variants]
    script = _COLD.format(
        variants=with_homes, packages=packages, hidden=hidden, fence=confinement.script()
    )
    ended = subprocess.run(
        [sys.executable, "-P", "-c", script], capture_output=True, text=True, check=False
    )
    if ended.returncode != 0:
        said = ended.stderr.strip().splitlines() or [f"exit code {ended.returncode}"]
        raise Refusal(f"a fresh Python ended before the import: {said[-1]}")
    found: list[str] = json.loads(ended.stdout)
    return found
