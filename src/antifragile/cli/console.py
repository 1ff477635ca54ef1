r"""Consoles: results go to stdout, progress and notes to stderr.

What is printed is text as it stands: no markup, no emoji names, and control characters of names
and messages, which would steer the terminal, shown as ``\x1b``.
"""

from __future__ import annotations

import io
import json
import os
from collections.abc import Container, Iterable
from typing import Any, TextIO

from rich.console import Console, ConsoleOptions, JustifyMethod, RenderableType
from rich.segment import Segment
from rich.table import Table
from rich.text import Text

from antifragile._shown import PLAIN_CHARACTERS, use_plain_characters, visible

WIDE = 160  # columns when stdout is a file or a pipe, so that tables are not cut


class _PlainConsole(Console):
    def __init__(self, **options: Any) -> None:
        super().__init__(markup=False, emoji=False, highlight=False, **options)

    def render_str(self, text: str, **options: Any) -> Text:
        """Show control characters before the text is laid out."""
        return super().render_str(visible(text), **options)

    def render(
        self, renderable: RenderableType, options: ConsoleOptions | None = None
    ) -> Iterable[Segment]:
        """Show control characters of texts that were laid out by others."""
        for segment in super().render(renderable, options):
            text, _, control = segment
            is_shown = text.isprintable() or control or text == "\r"  # ends a line of progress
            yield segment if is_shown else segment._replace(text=visible(text))


class _Results(_PlainConsole):
    def on_broken_pipe(self) -> None:
        """Leave it to `main.run`; rich would end the program with exit code 1."""
        raise BrokenPipeError


class _Notes(_PlainConsole):
    def on_broken_pipe(self) -> None:
        """Fall silent; nobody reading the progress is no reason to stop the work."""
        self.quiet = True


def stdout() -> Console:
    """Make a console for results, as wide as the terminal, or as `COLUMNS` says."""
    console = _Results()
    is_said = os.environ.get("COLUMNS", "").isdigit()
    return console if console.is_terminal or is_said else _Results(width=WIDE)


def stderr() -> Console:
    """Make a console for progress and notes."""
    return _Notes(stderr=True)


def accept_all_characters(stream: TextIO) -> None:
    """Let a stream of another encoding than UTF-8 take any text: ``±`` becomes ``+-``."""
    use_plain_characters()
    if isinstance(stream, io.TextIOWrapper):
        stream.reconfigure(errors=PLAIN_CHARACTERS)


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
