"""The command line: thin verbs over the library, and the one place where errors become exit codes.

Exit codes: 0 done, 1 a failure of ours or of the world, 2 wrong input, 130 interrupted.
"""

from __future__ import annotations

import logging
import os
import sys
import traceback
from collections.abc import Sequence
from contextlib import suppress
from typing import Annotated, Any

import typer
from rich.markup import escape

from antifragile import __version__
from antifragile.cli import bench, data, landscape, perturb, train
from antifragile.cli.ablate import generate as ablate
from antifragile.cli.ablate import report as ablate_report
from antifragile.cli.ablate import run as ablate_run
from antifragile.cli.console import stderr
from antifragile.cli.results import classify, compare_modes, figure, report, size, table
from antifragile.cli.study import commands as study
from antifragile.errors import AntifragileError, Interrupted, WorldError

_OUT_OF_MEMORY = ("not enough memory", "can't allocate memory", "out of memory")

app = typer.Typer(
    name="antifragile",
    help="Damage neural networks on purpose and measure what comes back.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    add_completion=False,
    rich_markup_mode="rich",
)
app.command("landscape")(landscape.landscape)
app.add_typer(data.app, name="data")
app.add_typer(study.app, name="study")
ablate.app.command("run")(ablate_run.run)
ablate.app.command("report")(ablate_report.report)
app.add_typer(ablate.app, name="ablate")
app.command("train")(train.train)
app.add_typer(perturb.app, name="perturb")
app.command("bench")(bench.bench)
app.command("classify")(classify.classify)
app.command("compare-modes")(compare_modes.compare_modes)
app.command("size")(size.size)
app.command("table")(table.table)
app.command("figure")(figure.figure)
app.command("report")(report.report)
app.command("compare")(report.compare)


def _print_version(value: bool) -> None:
    if value:
        print(__version__)
        raise typer.Exit


@app.callback()
def options(
    debug: Annotated[
        bool, typer.Option("--debug", help="Show the traceback of an error (anywhere on the line).")
    ] = False,
    version: Annotated[
        bool,
        typer.Option(
            "--version", help="Print the version.", callback=_print_version, is_eager=True
        ),
    ] = False,
) -> None:
    """Options before the verb."""


def run(arguments: Sequence[str]) -> int:
    """Run one command line and return its exit code.

    Args:
        arguments: What follows the program's name; ``--debug`` anywhere shows tracebacks.
    """
    debug = "--debug" in arguments
    logging.basicConfig(level=logging.WARNING, format="%(levelname)s: %(message)s")
    words = [item for item in arguments if item != "--debug"]
    try:
        code = app(words, prog_name="antifragile", standalone_mode=False)
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
            traceback.print_exception(error)
        return _explain(error, words)


def main() -> None:
    """Entry point of the ``antifragile`` command."""
    for name in ("stdout", "stderr"):
        if getattr(sys, name) is None:  # closed by whoever started us
            setattr(sys, name, open(os.devnull, "w"))  # noqa: SIM115 - open to the end
    sys.exit(run(sys.argv[1:]))


def _explain(error: Exception, words: Sequence[str]) -> int:
    if callable(getattr(error, "show", None)):
        return _explain_usage(error, words)
    if isinstance(error, AntifragileError):
        return _say(str(error), error.exit_code)
    if isinstance(error, OSError):
        reason = f"{error.strerror or error}{_where(error)}"
        return _say(f"{reason}; mend that and run the same command again.", WorldError.exit_code)
    if isinstance(error, MemoryError) or any(clause in str(error) for clause in _OUT_OF_MEMORY):
        message = "out of memory; use fewer --workers or smaller networks."
        return _say(message, WorldError.exit_code)
    return _say(f"internal error, please report it: {error!r}; --debug shows where.", 1)


def _explain_usage(error: Any, words: Sequence[str]) -> int:
    """Say in one sentence what was wrong with the command line itself."""
    message, context = error.format_message().removesuffix("."), getattr(error, "ctx", None)
    if not message.strip():  # a group without a verb: its help
        error.show()
        return int(error.exit_code)
    message = message[:1].lower() + message[1:]
    message = message.replace("Value error, ", "").replace("Input should be", "it must be")
    for option in getattr(getattr(error, "param", None), "opts", ()):
        if option in words[:-1]:
            message += f"; got {words[words.index(option) + 1]!r}"
    help_of = context.command_path if context is not None else "antifragile"
    link = " See" if message.endswith("?") else "; see"
    return _say(f"{message}{link} '{help_of} --help'.", int(error.exit_code))


def _where(error: OSError) -> str:
    return f": {error.filename}" if error.filename else ""


def _say(message: str, code: int) -> int:
    if code == 1:
        _drop_unwritable_stdout()
    is_error = code != Interrupted.exit_code
    shown = f"[bold red]error:[/] {escape(message)}" if is_error else escape(message)
    with suppress(OSError):  # stderr itself may be full or closed; the exit code remains
        stderr().print(shown, soft_wrap=True)
    return code


def _drop_unwritable_stdout() -> None:
    """Keep the interpreter's own flush at exit from failing a second time on a full disk."""
    try:
        sys.stdout.flush()
    except OSError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
