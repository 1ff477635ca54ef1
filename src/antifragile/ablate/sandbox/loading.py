"""Imports of a user's functions inside a child process, and sentences about what went wrong there.

Runs only in children of the server. `stage` names the step that is under way, so that a hang or a
crash can be told from outside; `Refusal` ends a job with a sentence of ours.
"""

from __future__ import annotations

import importlib
import importlib.util
import io
import os
import sys
import traceback
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from importlib.machinery import SOURCE_SUFFIXES
from pathlib import Path
from types import ModuleType
from typing import Any

from antifragile.ablate.source.imports import SourceChanged, SourceLoader
from antifragile.errors import nearest

_MESSAGE_LENGTH = 300
_stage_file: int | None = None  # descriptor


class Refusal(Exception):
    """Something is wrong with what the user gave; the message is the reason in words."""


def note_stages_in(path: Path) -> None:
    """Write every stage that begins to this file, where the parent finds it after a crash."""
    global _stage_file
    _stage_file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)


def _note(words: str) -> None:
    if _stage_file is not None:
        os.ftruncate(_stage_file, 0)
        os.pwrite(_stage_file, words.encode(), 0)


@contextmanager
def stage(words: str) -> Iterator[None]:
    """Name what runs inside, as the subject of a sentence: ``"build() of model.py"``.

    Raises:
        Refusal: The code inside raised an exception; the sentence says which and where.
    """
    _note(words)
    try:
        yield
    except (Refusal, MemoryError, SystemExit, KeyboardInterrupt):
        raise
    except SourceChanged as change:
        raise Refusal(str(change)) from change
    except BaseException as error:
        if is_out_of_memory(error):
            raise MemoryError from error
        raise Refusal(f"{words} raised {describe(error)}") from error
    _note("")


class LastWords(io.TextIOBase):
    """An error stream that keeps the last line alone, for the reason of an exit."""

    def __init__(self) -> None:
        self.text = ""

    def write(self, text: str) -> int:
        """Take what is written; forget what came long before."""
        self.text = (self.text + text)[-_MESSAGE_LENGTH:]
        return len(text)

    def writable(self) -> bool:
        """Say yes."""
        return True


def last_words() -> str:
    """The last line that was written to the error stream, as a clause; empty if none was."""
    text = sys.stderr.text if isinstance(sys.stderr, LastWords) else ""
    lines = text.strip().splitlines()
    return f" after it said {lines[-1]!r}" if lines else ""


def hide(packages: Sequence[str]) -> None:
    """Make packages impossible to import from now on; code that runs keeps its references."""
    for name in list(sys.modules):
        if name.partition(".")[0] in packages:
            del sys.modules[name]
    for name in packages:
        sys.modules[name] = None  # type: ignore[assignment]  # how Python marks "not importable"


def kind_of(value: object) -> str:
    """The type of something in words: "a list", "None"."""
    return f"a {type(value).__name__}" if value is not None else "None"


def wrong_loss(source: str, loss: object) -> Refusal:
    """Say that a step returned something else than a loss."""
    got = kind_of(loss)
    return Refusal(f"{source} must return the loss, a tensor with one element; got {got}")


def describe(error: BaseException) -> str:
    """An exception in words: its type, message, file and line in the user's own code."""
    message = " ".join(str(error).split()) or "no message"
    if isinstance(error, SyntaxError):
        return f"a syntax error: {error.msg} ({_short(error.filename)}, line {error.lineno})"
    if len(message) > _MESSAGE_LENGTH:
        message = message[: _MESSAGE_LENGTH - 3] + "..."
    return f"{type(error).__name__}: {message}{_place(error)}"


def import_file(file: str, name: str) -> ModuleType:
    """Import a file of the working folder under the name by which its neighbours would import it.

    Args:
        file: Path relative to the working folder.
        name: Dotted module name.

    Raises:
        Refusal: It is not there, or raised an exception.
    """
    path = Path(file).resolve()
    if not path.is_file():
        raise Refusal(f"there is no file {file}")
    with stage(f"importing {file}"):
        module = sys.modules.get(name)
        if module is None:
            module = importlib.import_module(name)
        if not _is_at(module, path):  # the name is taken by another module: random.py, types.py
            module = import_by_path(f"_ablated_{name.replace('.', '_')}", path)
    return module


def load_function(file: str, function: str, name: str) -> Callable[..., Any]:
    """Import a file of the working folder and take a function from it.

    Args:
        file: Path relative to the working folder.
        function: The function's name.
        name: Dotted module name of the file.

    Raises:
        Refusal: It is not there, or not callable.
    """
    module = import_file(file, name)
    found = getattr(module, function, None)
    if found is None:
        names = [key for key, value in vars(module).items() if callable(value)]
        hint = nearest(function, names) if names else "it defines none."
        raise Refusal(f"{file} has no function {function!r}; {hint}".removesuffix("."))
    if not callable(found):
        raise Refusal(f"{function!r} of {file} is not a function but a {type(found).__name__}")
    return found  # type: ignore[no-any-return]  # getattr; known to be callable


def _is_at(module: ModuleType, path: Path) -> bool:
    place = getattr(module, "__file__", None)
    return place is not None and Path(place).resolve() == path.resolve()


def import_by_path(name: str, path: Path, sha256: Mapping[str, str] | None = None) -> ModuleType:
    """Import a file under a name of ours, from its source, unless it is there already.

    Args:
        name: The name.
        path: The file.
        sha256: Known hashes by absolute path.

    Raises:
        Refusal: It is not Python.
        SourceChanged: It is not as it was hashed.
    """
    if name in sys.modules:
        return sys.modules[name]
    if path.suffix not in SOURCE_SUFFIXES:
        raise Refusal(f"{path.name} is not a Python file")
    loader = SourceLoader(name, str(path), sha256)
    spec = importlib.util.spec_from_file_location(name, path, loader=loader)
    if spec is None or spec.loader is None:
        raise Refusal(f"{path.name} is not a Python file")
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    spec.loader.exec_module(module)
    return module


def _place(error: BaseException) -> str:
    """The last line of the traceback that lies in the working folder, or nothing."""
    here = str(Path.cwd().resolve())
    lines = [
        frame
        for frame in traceback.extract_tb(error.__traceback__)
        if str(Path(frame.filename).resolve()).startswith(here)
    ]
    return f" ({_short(lines[-1].filename)}, line {lines[-1].lineno})" if lines else ""


def _short(filename: str | None) -> str:
    if filename is None:
        return "?"
    path, here = Path(filename).resolve(), Path.cwd().resolve()
    return str(path.relative_to(here)) if path.is_relative_to(here) else path.name


def is_out_of_memory(error: BaseException) -> bool:
    """Whether an exception says that an allocation failed."""
    clauses = ("can't allocate memory", "not enough memory", "bad_alloc", "annot allocate memory")
    return isinstance(error, MemoryError) or any(clause in str(error) for clause in clauses)
