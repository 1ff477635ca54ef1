"""Turn the end of a command into an exit code and, for an error, one sentence on stderr.

Exit codes: 0 done, 1 a failure of ours or of the world, 2 wrong input, 130 interrupted.
"""

from __future__ import annotations

import logging
import os
import sys
import traceback
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Any

import typer
from rich.text import Text

from antifragile._shown import cut, hide_secrets, visible
from antifragile.cli.console import stderr
from antifragile.errors import AntifragileError, Interrupted, WorldError

_OUT_OF_MEMORY = (
    *("not enough memory", "can't allocate memory", "out of memory"),
    *("failed to map segment", "cannot allocate memory", "can't start new thread"),
)


def run_command(command: Callable[..., Any], arguments: Sequence[str], *, program: str) -> int:
    """Run one command line and return its exit code.

    Args:
        command: A Typer app.
        arguments: The words after the program's name; ``--debug`` anywhere shows tracebacks.
        program: The program's name, for usage lines.
    """
    debug = "--debug" in arguments
    _show_warnings()
    words = [item for item in arguments if item != "--debug"]
    try:
        code = command(words, prog_name=program, standalone_mode=False)
        sys.stdout.flush()
        if code == Interrupted.exit_code:  # typer has already caught the KeyboardInterrupt
            raise KeyboardInterrupt
        return code if isinstance(code, int) else 0
    except (BrokenPipeError, SystemExit) as error:
        if isinstance(error, SystemExit) and not isinstance(error.__context__, BrokenPipeError):
            raise
        # The reader (head, less) has seen enough; typer turns some of these into an exit code 1.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except (KeyboardInterrupt, typer.Abort):
        return _say("interrupted; run the same command again to go on.", Interrupted.exit_code)
    except Exception as error:
        if debug:
            print(_fit("".join(traceback.format_exception(error)), words), file=sys.stderr, end="")
        message, code = _explain(error, words, program)
        return _say(cut(_fit(message, words)), code) if message else code


def _show_warnings() -> None:
    """Print warnings of libraries and our own to stderr, one line each."""
    handler = logging.StreamHandler()
    handler.setFormatter(_Line("%(levelname)s: %(message)s"))
    logging.basicConfig(level=logging.WARNING, handlers=[handler])


class _Line(logging.Formatter):
    def format(self, record: logging.LogRecord) -> str:
        """Show control characters of what the message quotes."""
        return visible(super().format(record))


def _fit(text: str, words: Sequence[str]) -> str:
    """Make a text fit to be shown: no control characters, no password that the user typed."""
    for word in words:
        text = hide_secrets(text, word)
    return visible(text)


def _explain(error: Exception, words: Sequence[str], program: str) -> tuple[str, int]:
    """Return one sentence, or nothing more to say, and the exit code."""
    if callable(getattr(error, "show", None)):
        return _explain_usage(error, words, program)
    if isinstance(error, AntifragileError):
        return str(error), error.exit_code
    if isinstance(error, OSError):
        reason = f"{error.strerror or error}{_where(error)}"
        return f"{reason}; mend that and run the same command again.", WorldError.exit_code
    if isinstance(error, MemoryError) or any(clause in str(error) for clause in _OUT_OF_MEMORY):
        message = "out of memory; use fewer --workers or smaller networks."
        return message, WorldError.exit_code
    return f"internal error, please report it: {error!r}; --debug shows where.", 1


def _explain_usage(error: Any, words: Sequence[str], program: str) -> tuple[str, int]:
    """Say in one sentence what was wrong with the command line itself."""
    message, context = error.format_message().removesuffix("."), getattr(error, "ctx", None)
    if not message.strip():  # a group without a verb: its help
        error.show()
        return "", int(error.exit_code)
    message = message[:1].lower() + message[1:]
    message = message.replace("Value error, ", "").replace("Input should be", "it must be")
    for option in getattr(getattr(error, "param", None), "opts", ()):
        if option in words[:-1]:
            message += f"; got {words[words.index(option) + 1]!r}"
    help_of = context.command_path if context is not None else program
    link = " See" if message.endswith("?") else "; see"
    return f"{message}{link} '{help_of} --help'.", int(error.exit_code)


def _where(error: OSError) -> str:
    return f": {error.filename}" if error.filename else ""


def _say(message: str, code: int) -> int:
    if code == 1:
        _drop_unwritable_stdout()
    is_error = code != Interrupted.exit_code
    shown = Text.assemble(*([("error: ", "bold red")] if is_error else []), message)
    with suppress(OSError):  # stderr itself may be full or closed; the exit code remains
        stderr().print(shown, soft_wrap=True)
    return code


def _drop_unwritable_stdout() -> None:
    """Keep the interpreter's own flush at exit from failing a second time on a full disk."""
    try:
        sys.stdout.flush()
    except OSError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
