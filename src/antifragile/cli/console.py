"""Consoles: results go to stdout, progress and notes to stderr."""

from __future__ import annotations

import json
from collections.abc import Container
from typing import Any

from rich.console import Console, JustifyMethod
from rich.table import Table

WIDE = 160  # columns when stdout is a file or a pipe, so that tables are not cut


class _Results(Console):
    def on_broken_pipe(self) -> None:
        """Leave it to `main.run`; rich would end the program with exit code 1."""
        raise BrokenPipeError


class _Notes(Console):
    def on_broken_pipe(self) -> None:
        """Fall silent; nobody reading the progress is no reason to stop the work."""
        self.quiet = True


def stdout() -> Console:
    """Make a console for results."""
    console = _Results(highlight=False)
    return console if console.is_terminal else _Results(highlight=False, width=WIDE)


def stderr() -> Console:
    """Make a console for progress and notes."""
    return _Notes(stderr=True, highlight=False)


def print_json(value: Any) -> None:
    """Print one JSON document; never NaN or Infinity, which JSON lacks."""
    print(json.dumps(value, indent=1, allow_nan=False))


def plain_table(*headings: str, title: str | None = None, no_wrap: Container[str] = ()) -> Table:
    """Make a table that stays readable as text.

    Args:
        *headings: One per column; the columns of those that begin with ``>`` are right-aligned.
        title: The line above the table.
        no_wrap: The headings whose columns are never broken into lines.
    """
    table = Table(title=title, title_justify="left", box=None, pad_edge=False, padding=(0, 2, 0, 0))
    for heading in headings:
        name = heading.removeprefix(">")
        justify: JustifyMethod = "left" if name == heading else "right"
        table.add_column(name, justify=justify, no_wrap=heading in no_wrap)
    return table
