"""Functions of a user's file that run in this process, and one sentence about what goes wrong."""

from __future__ import annotations

import importlib.util
import sys
import traceback
from collections.abc import Callable
from contextlib import redirect_stdout
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

from antifragile.errors import AntifragileError, UsageError, nearest

Result = TypeVar("Result")
_LONGEST = 200


def load_function(reference: str) -> Callable[[], Any]:
    """Import the file of a reference ``file.py:function`` and return the function.

    Raises:
        UsageError: There is no such file or function, or the file cannot be imported.
    """
    name, colon, function = reference.rpartition(":")
    path = Path(name)
    if not colon or not function.isidentifier() or path.suffix != ".py":
        raise UsageError(f"{reference!r} is no function of a file; write it as model.py:build.")
    if not path.is_file():
        raise UsageError(f"no file at {path}; give the path of a Python file.")
    module = sys.modules.get(_module_name(path)) or _imported(path)
    found = getattr(module, function, None)
    if not callable(found):
        callables = [key for key, value in vars(module).items() if callable(value)]
        raise UsageError(f"{path} has no function {function!r}; {nearest(function, callables)}")
    found_function: Callable[[], Any] = found
    return found_function


def _module_name(path: Path) -> str:
    return f"_antifragile_user_{path.resolve()}"


def _imported(path: Path) -> Any:
    """Import a file, whose neighbours it can import, too."""
    spec = importlib.util.spec_from_file_location(_module_name(path), path.resolve())
    assert spec is not None, "a .py file has a loader"
    loader = spec.loader
    assert loader is not None, "a .py file has a loader"
    module = importlib.util.module_from_spec(spec)
    folder = str(path.resolve().parent)
    if folder not in sys.path:
        sys.path.insert(0, folder)
    sys.modules[spec.name] = module
    try:
        call_user(partial(loader.exec_module, module), str(path))
    except UsageError:
        del sys.modules[spec.name]
        raise
    return module


def call_user(function: Callable[[], Result], name: str) -> Result:
    """Run a user's code; what it prints goes to standard error.

    Args:
        function: The code.
        name: Subject of the sentence if it fails.

    Raises:
        UsageError: It raised an exception; the sentence says which and where.
    """
    try:
        with redirect_stdout(sys.stderr):
            return function()
    except AntifragileError:
        raise
    except Exception as error:
        where = traceback.extract_tb(error.__traceback__)[-1]
        words = " ".join(str(error).split())[:_LONGEST]
        raise UsageError(
            f"{name} raised {type(error).__name__}: {words} "
            f"({Path(where.filename).name}:{where.lineno}). Mend it, then run the command again."
        ) from error
