"""The command line: the list of verbs, and the entry point of the ``antifragile`` command."""

from __future__ import annotations

import gc
import os
import signal
import sys
from collections.abc import Sequence
from typing import Annotated

import typer

import antifragile
from antifragile.cli.console import accept_all_characters
from antifragile.cli.errors import run_command
from antifragile.cli.lazy import lazy_group
from antifragile.cli.verbs import GROUPS, VERBS

_COLLECT_AFTER = (50_000, 20, 20)  # new objects; then collections of the younger generation

app = lazy_group(
    "Damage neural networks on purpose and measure what comes back.", VERBS, name="antifragile"
)
for _name, (_help, _verbs) in GROUPS.items():
    app.add_typer(lazy_group(_help, _verbs), name=_name)


def _print_version(value: bool) -> None:
    if value:
        print(antifragile.__version__)
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
    """Run one command line of ``antifragile`` and return its exit code.

    Args:
        arguments: The words after the program's name; ``--debug`` anywhere shows tracebacks.
    """
    return run_command(app, arguments, program="antifragile")


def main() -> None:
    """Run the command line of this process.

    Python's search for circular garbage takes a fifth of the time of a command that imports much
    and reads hundreds of thousands of rows; it is made less often.
    """
    gc.set_threshold(*_COLLECT_AFTER)
    for name in ("stdout", "stderr"):
        if getattr(sys, name) is None:  # closed by whoever started us
            setattr(sys, name, open(os.devnull, "w"))  # noqa: SIM115 - open to the end
        accept_all_characters(getattr(sys, name))
    if signal.getsignal(signal.SIGTERM) is signal.SIG_DFL:  # else whoever started us ignores it
        signal.signal(signal.SIGTERM, _as_ctrl_c)
    sys.exit(run(sys.argv[1:]))


def _as_ctrl_c(*_: object) -> None:
    """Stop as at Ctrl-C, which a command in the background may ignore."""
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        raise KeyboardInterrupt
    signal.raise_signal(signal.SIGINT)
