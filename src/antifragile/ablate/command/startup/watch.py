"""Begin to watch a run: which files it executes and reads, how it seeds, which models it builds."""

from __future__ import annotations

import atexit
import hashlib
import importlib.util
import os
import random
import sys
from collections.abc import Callable
from functools import partial
from typing import Any

from antifragile.ablate.command.startup import fence, pairing, preview, seeding
from antifragile.ablate.command.startup.notes import WatchedRun

_HERE = os.path.dirname(os.path.abspath(__file__))
# Flags that a fork sees to itself, and what is no flag; all runs have one hash seed.
_OTHER_FLAGS = ("_", "n_", "safe_path", "dont_write_bytecode", "hash_randomization")


def begin() -> None:
    """Watch this process from now on."""
    run = WatchedRun(os.environ["ANTIFRAGILE_RUN"])
    run.note("started", **_python())
    atexit.register(lambda: run.note("modules", names=_of_packages()))
    sys.addaudithook(_Files(run))
    if run.fenced:
        fence.begin(run.fenced, run.writable)
    seeding.of_python(run, random)

    def after_torch(module: Any) -> None:
        seeding.of_torch(run, module)
        if run.preview_steps:
            preview.begin(run, module)
        else:
            pairing.begin(run, module)

    waiting: dict[str, Callable[[Any], Any]] = {
        "numpy": partial(seeding.of_numpy, run),
        "torch": after_torch,
    }
    for name in waiting.keys() & sys.modules.keys():  # in a fork they are there
        waiting.pop(name)(sys.modules[name])
    sys.meta_path.insert(0, _AfterImport(waiting))


def _python() -> dict[str, Any]:
    """The start of this Python, by which a fork can tell whether it would be the same."""
    path = [place for place in sys.path if os.path.abspath(place or os.curdir) != _HERE]
    hooks = [f"{place}/{name}.py" for place in path for name in ("sitecustomize", "usercustomize")]
    names = [name for name in dir(sys.flags) if not name.startswith(_OTHER_FLAGS)]
    flags = {name: getattr(sys.flags, name) for name in names}
    return {
        "program": sys.orig_argv[1:],
        "version": sys.version.split()[0],
        "prefix": sys.prefix,
        "path": path,
        "flags": {name: int(flag) for name, flag in flags.items() if isinstance(flag, int)},
        "has_hook": any(map(os.path.isfile, hooks)),
    }


def _of_packages() -> list[str]:
    """The modules of installed packages, in the order in which their imports began."""
    files = [(name, getattr(one, "__file__", None) or "") for name, one in [*sys.modules.items()]]
    return [name for name, file in files if os.sep + "site-packages" + os.sep in file]


_PROGRAMS = ("subprocess.Popen", "os.posix_spawn", "os.exec", "os.spawn")  # events
_SCRIPTS = (".py", ".sh")


class _Files:
    """An audit hook that notes the edited files that are executed, and all files that are read.

    Among these are modules, whose compiled copies may be all that is opened, and scripts that are
    handed to programs, which may be no Python or one without the hook.
    """

    def __init__(self, run: WatchedRun) -> None:
        self._run, self._is_busy = run, False
        self._executed: set[str] = set()
        self._opened: set[tuple[str, bool]] = set()
        self._names = {os.path.basename(path) for path in run.watched}

    def __call__(self, event: str, arguments: tuple[Any, ...]) -> None:
        if event not in ("exec", "open", *_PROGRAMS) or self._is_busy:
            return
        self._is_busy = True
        try:
            if event == "exec":
                self._note_executed(arguments[0].co_filename)
            elif event == "open":
                self._note_opened(arguments[0], arguments[2])
            else:
                self._note_scripts(event, arguments)
        except (OSError, ValueError, TypeError, AttributeError, IndexError):
            pass  # a path that is none, or is gone
        finally:
            self._is_busy = False

    def _note_executed(self, file: str) -> None:
        if file in self._executed:
            return
        self._executed.add(file)
        self._note_opened(file, os.O_RDONLY)
        if os.path.basename(file) not in self._names:
            return
        path = os.path.realpath(file)
        with open(path, "rb") as content:
            sha256 = hashlib.sha256(content.read()).hexdigest()
        self._run.note("executed", path=path, sha256=sha256)

    def _note_scripts(self, event: str, arguments: tuple[Any, ...]) -> None:
        """Note the files that a program is, or is to run."""
        first = 1 if event == "os.spawn" else 0
        program, words = arguments[first : first + 2]
        folder = arguments[2] if event == "subprocess.Popen" and arguments[2] else "."
        for word in (program, *([words] if isinstance(words, str | bytes) else words)):
            path = os.path.join(os.fsdecode(folder), os.fsdecode(word))
            if os.path.isfile(path) and (path.endswith(_SCRIPTS) or os.access(path, os.X_OK)):
                self._note_opened(path, os.O_RDONLY)

    def _note_opened(self, file: Any, flags: int) -> None:
        if not isinstance(file, str | bytes | os.PathLike):
            return
        path = os.path.abspath(os.fsdecode(file))
        is_read = flags & os.O_ACCMODE == os.O_RDONLY
        if (path, is_read) in self._opened:
            return
        self._opened.add((path, is_read))
        if any(path == quiet or path.startswith(quiet + os.sep) for quiet in self._run.quiet):
            return
        if not is_read or os.path.isfile(path):
            self._run.note("opened", path=path, is_read=is_read)


class _AfterImport:
    """A finder that calls a function after a module was imported for the first time."""

    def __init__(self, waiting: dict[str, Callable[[Any], Any]]) -> None:
        self._waiting = waiting

    def find_spec(self, name: str, path: Any = None, target: Any = None) -> Any:
        """Find a module that is waited for, and follow its execution by the function."""
        if name not in self._waiting:
            return None
        then = self._waiting.pop(name)  # so that the others find it
        spec = importlib.util.find_spec(name)
        if spec is None or spec.loader is None:
            return spec
        execute = spec.loader.exec_module

        def executed(module: Any) -> None:
            execute(module)
            then(module)

        spec.loader.exec_module = executed  # type: ignore[method-assign]
        return spec
