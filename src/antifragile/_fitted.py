"""Rows of a table on a terminal: side by side where they fit, else a block for each row.

Texts fold between words; a number is never broken into two lines.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from rich.cells import cell_len
from rich.console import Console, ConsoleOptions, JustifyMethod, RenderResult
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

_GAP = 2  # blank columns between two of a table
_BETWEEN = "   "  # between two cells of a block
_LEAST_TEXT, _LONGEST_WORD = 12, 32  # columns that a text takes beside numbers; words are broken


@dataclass(frozen=True, kw_only=True)
class FittedRows:
    """Rows for `rich.console.Console.print`.

    Args:
        names: The headings.
        is_text: Whether a column holds texts, which fold; numbers stand to the right.
        rows: The cells, one text each.
        bold: (row, column) of cells that stand out.
    """

    names: Sequence[str]
    is_text: Sequence[bool]
    rows: Sequence[Sequence[str]]
    bold: frozenset[tuple[int, int]] = frozenset()

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        """Draw the rows in the first form that fits."""
        widths = self._widths(options.max_width)
        if widths is None:
            yield from self._blocks(options.max_width)
            return
        table = Table(box=None, pad_edge=False, padding=(0, _GAP, 0, 0))
        for name, is_text, width in zip(self.names, self.is_text, widths, strict=True):
            side: JustifyMethod = "left" if is_text else "right"
            shown = Text(name if cell_len(name) <= width else name.replace(" ", "\n"))
            table.add_column(shown, justify=side, overflow="fold", width=width)
        for number in range(len(self.rows)):
            table.add_row(*self._texts(number))
        yield table

    def _widths(self, most: int) -> list[int] | None:
        """Width of each column, so that all fit; None where they do not.

        Headings of numbers are broken first, then the widest texts.
        """
        columns = range(len(self.names))
        cells = [[row[number] for row in self.rows] for number in columns]
        widths = [max(map(cell_len, [self.names[n], *cells[n]])) for n in columns]
        room = most - _GAP * (len(widths) - 1)
        least = [self._least(self.names[n], cells[n], is_text=self.is_text[n]) for n in columns]
        if sum(widths) > room:
            widths = [w if self.is_text[n] else least[n] for n, w in enumerate(widths)]
        while sum(widths) > room:
            can_give = [n for n in columns if widths[n] > least[n]]
            if not can_give:
                return None
            widths[max(can_give, key=lambda n: widths[n])] -= 1
        return widths

    @staticmethod
    def _least(name: str, cells: Sequence[str], *, is_text: bool) -> int:
        """The least width of a column: of texts as of their words, of numbers as of all."""
        if not is_text:
            return max(map(cell_len, [*name.split(), *cells]), default=0)
        words = [word for cell in (name, *cells) for word in cell.split()]
        longest = max(map(cell_len, words), default=0)
        whole = max(map(cell_len, [name, *cells]))
        return min(whole, max(_LEAST_TEXT, min(longest, _LONGEST_WORD)))

    def _texts(self, number: int) -> list[Text]:
        """The cells of a row."""
        return [
            Text(cell, style="bold" if (number, place) in self.bold else "")
            for place, cell in enumerate(self.rows[number])
        ]

    def _blocks(self, width: int) -> RenderResult:
        """Yield the texts that begin each row, and below them the other cells with their names."""
        n_first = max(1, next((n for n, text in enumerate(self.is_text) if not text), 1))
        for number, row in enumerate(self.rows):
            yield Text("  ".join(row[:n_first]), style="bold", overflow="fold")
            line = Text()
            for name, cell in zip(self.names[n_first:], self._texts(number)[n_first:], strict=True):
                if not cell:
                    continue
                word = Text(f"{name} ").append_text(cell)
                if line and line.cell_len + len(_BETWEEN) + word.cell_len > width - _GAP:
                    yield Padding(line, (0, 0, 0, _GAP))
                    line = Text()
                line = (line.append(_BETWEEN) if line else line).append_text(word)
            yield Padding(line, (0, 0, 0, _GAP))
