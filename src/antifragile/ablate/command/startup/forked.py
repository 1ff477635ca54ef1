"""A command of Python run by a fork of this process, which has imported what the command imports.

Starting Python and importing torch takes seconds; a fork takes milliseconds. The fork becomes the
process that Python would have started: its arguments, import path, variables, folder, streams and
``__main__``. What Python does at its end (threads, atexit, flushing) it does too.
"""

from __future__ import annotations

import atexit
import importlib.machinery
import os
import runpy
import signal
import sys
import threading
import traceback
import types
from collections.abc import Callable, Mapping, Sequence
from typing import Any

_HERE = os.path.dirname(os.path.abspath(__file__))


def start(
    words: Sequence[str],
    folder: str,
    environment: Mapping[str, str],
    path: Sequence[str],
    streams: Sequence[int],
    before: Callable[[], object],
) -> int:
    """Fork, and become a command in the fork.

    Args:
        words: ``python script.py ...`` or ``python -m module ...``.
        folder: The folder where it is started.
        environment: Its variables.
        path: Its import path, but for the script's own folder.
        streams: Descriptors of its standard input, output and errors.
        before: Called first in the fork.

    Returns:
        The fork's process id.
    """
    pid = os.fork()
    if pid:
        return pid
    code = 1
    try:
        before()
        _enter(words, folder, environment, path, streams)
        code = _run(words)
    except BaseException:
        traceback.print_exc()
    finally:
        os._exit(code)


def _run(words: Sequence[str]) -> int:
    """Run the command to its end; return its exit code."""
    code, is_interrupted = 0, False
    try:
        _begin_to_watch()
        _main(list(words[1:]))
    except SystemExit as end:
        code = _code_of(end)
    except BaseException as error:
        error.__traceback__ = _of_the_script(error.__traceback__)
        sys.excepthook(type(error), error, error.__traceback__)
        code, is_interrupted = 1, isinstance(error, KeyboardInterrupt)
    threading._shutdown()  # type: ignore[attr-defined]  # as Python does before atexit
    atexit._run_exitfuncs()
    for stream in (sys.stdout, sys.stderr):
        stream.flush()
    if is_interrupted:  # Python ends itself by the signal
        signal.signal(signal.SIGINT, signal.SIG_DFL)
        os.kill(os.getpid(), signal.SIGINT)
    return code


def _enter(
    words: Sequence[str],
    folder: str,
    environment: Mapping[str, str],
    path: Sequence[str],
    streams: Sequence[int],
) -> None:
    """Take the place of the process that would have been started; arguments as `start`."""
    for number, given in enumerate(streams):
        os.dup2(given, number)
    encoding = sys.stdout.encoding
    ways: dict[str, Any] = {"errors": "backslashreplace", "buffering": 1}
    for number, (name, mode) in enumerate((("stdin", "r"), ("stdout", "w"), ("stderr", "w"))):
        more = ways if number == 2 else {}
        stream = os.fdopen(number, mode, closefd=False, encoding=encoding, **more)
        for attribute in (name, f"__{name}__"):
            setattr(sys, attribute, stream)
    signal.signal(signal.SIGINT, signal.default_int_handler)
    for number in (signal.SIGTERM, signal.SIGCHLD):
        signal.signal(number, signal.SIG_DFL)
    atexit._clear()  # what the process that was forked would have done
    os.chdir(folder)
    os.environ.clear()
    os.environ.update(environment)
    sys.path[:] = path
    sys.orig_argv[:] = list(words)
    sys.dont_write_bytecode = True


def _begin_to_watch() -> None:
    """Run the start-up hook, as Python does before it runs a script."""
    loader = importlib.machinery.SourceFileLoader(
        "sitecustomize", os.path.join(_HERE, "sitecustomize.py")
    )
    module = types.ModuleType("sitecustomize")
    module.__file__ = loader.path
    exec(loader.get_code("sitecustomize") or "", module.__dict__)


def _main(words: list[str]) -> None:
    """Run a script, or a module by its name, as ``__main__``."""
    main = types.ModuleType("__main__")
    main.__dict__["__builtins__"] = __builtins__
    sys.modules["__main__"] = main
    if words[0] == "-m":
        sys.argv[:] = words[1:]
        sys.path.insert(0, os.getcwd())
        runpy._run_module_as_main(words[1], alter_argv=True)  # type: ignore[attr-defined]
        return
    script = os.path.abspath(words[0])
    sys.argv[:] = words
    sys.path.insert(0, os.path.dirname(os.path.realpath(script)))
    loader = importlib.machinery.SourceFileLoader("__main__", script)
    values: dict[str, Any] = {"__file__": script, "__loader__": loader, "__cached__": None}
    main.__dict__.update(values, __spec__=None, __package__=None)
    exec(loader.source_to_code(loader.get_data(script), script), main.__dict__)


def _code_of(end: SystemExit) -> int:
    if end.code is None or isinstance(end.code, int):
        return (end.code or 0) & 0xFF
    print(end.code, file=sys.stderr)
    return 1


def _of_the_script(trace: types.TracebackType | None) -> types.TracebackType | None:
    """The part of a traceback that the script sees when Python runs it."""
    while trace is not None and trace.tb_next and trace.tb_frame.f_code.co_filename == __file__:
        trace = trace.tb_next
    return trace
