"""A table as data, and the four ways to write it: for a terminal, Markdown, LaTeX, CSV.

Cells are numbers, texts, None (nothing to show) or a `Spread`; only the writing rounds them, and
the CSV does not round at all.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

import pandas as pd
from rich.console import Group
from rich.text import Text

from antifragile._fitted import FittedRows
from antifragile._shown import visible
from antifragile.analysis.csv_files import guarded

_LATEX = {
    "\\": r"\textbackslash{}",
    **{letter: f"\\{letter}" for letter in "&%$#_{}"},
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    "±": r"$\pm$",
    "≥": r"$\ge$",
    "≤": r"$\le$",
    "<": r"\textless{}",
    ">": r"\textgreater{}",
    "|": r"\textbar{}",
    "*": r"$\ast$",
}
_ENDLESS = 1e15  # from here on a float's decimals say nothing


@dataclass(frozen=True)
class Spread:
    """A mean with its standard deviation; two columns of a CSV."""

    mean: float
    sd: float
    is_best: bool = False


Cell = str | int | float | Spread | None


@dataclass(frozen=True, kw_only=True)
class Column:
    """A heading; ``spread`` says that its cells are `Spread`, ``decimals`` is for floats.

    Cells that come from a frame are those of its column ``key``.
    """

    name: str
    key: str = ""
    decimals: int = 2
    is_text: bool = False
    spread: bool = False


def text_columns(*names: str) -> list[Column]:
    """Columns of texts."""
    return [Column(name=name, key=name, is_text=True) for name in names]


def number_columns(*names: str, decimals: int = 2) -> list[Column]:
    """Columns of numbers; underscores in their names become spaces."""
    return [Column(name=n.replace("_", " "), key=n, decimals=decimals) for n in names]


@dataclass(frozen=True, kw_only=True)
class Table:
    """A table with its title above and its notes below."""

    title: str
    columns: Sequence[Column]
    rows: Sequence[Sequence[Cell]]
    notes: Sequence[str] = ()


def frame_table(
    frame: pd.DataFrame, *, title: str, columns: Sequence[Column], notes: Sequence[str] = ()
) -> Table:
    """A table with a row for each row of a frame; what is missing there has nothing to show."""
    rows = [
        [None if pd.isna(cell) else cell for cell in row]
        for row in frame[[column.key for column in columns]].itertuples(index=False, name=None)
    ]
    return Table(title=title, columns=columns, rows=rows, notes=notes)


def show(cell: Cell, column: Column) -> str:
    """The cell as text, rounded for reading."""
    if cell is None or cell != cell:
        return "-"
    if isinstance(cell, Spread):
        return f"{cell.mean:.{column.decimals}f} ± {cell.sd:.{column.decimals}f}"
    if isinstance(cell, float):
        is_endless = abs(cell) >= _ENDLESS
        return f"{cell:.4g}" if is_endless else f"{cell:.{column.decimals}f}"
    return f"{cell:,}" if isinstance(cell, int) else _one_line(cell)


def as_rich(table: Table) -> Group:
    """A table for `rich.console.Console.print`; no number in it is ever broken into two lines."""
    rows = FittedRows(
        names=[_one_line(column.name) for column in table.columns],
        is_text=[column.is_text for column in table.columns],
        rows=[_shown(table, row, str, str) for row in table.rows],
        bold=frozenset(
            (number, place)
            for number, row in enumerate(table.rows)
            for place, cell in enumerate(row)
            if isinstance(cell, Spread) and cell.is_best
        ),
    )
    notes = [Text(_one_line(note)) for note in table.notes]
    return Group(Text(_one_line(table.title), style="bold"), rows, *notes)


def as_markdown(table: Table) -> str:
    """A pipe table."""

    def plain(text: str) -> str:
        shown = _one_line(text)
        return shown.replace("|", "\\|").replace("*", "\\*").replace("<", "&lt;")

    def bold(text: str) -> str:
        return f"**{text}**"

    lines = [
        f"**{plain(table.title)}**",
        "",
        _pipes(plain(column.name) for column in table.columns),
        _pipes("---" if column.is_text else "---:" for column in table.columns),
        *(_pipes(_shown(table, row, plain, bold)) for row in table.rows),
    ]
    for note in table.notes:
        lines += ["", plain(note)]
    return "\n".join(lines) + "\n"


def as_latex(table: Table) -> str:
    """A ``longtable`` with the rules of the package ``booktabs``."""

    def plain(text: str) -> str:
        return "".join(_LATEX.get(letter, letter) for letter in _one_line(text))

    def bold(text: str) -> str:
        return rf"\textbf{{{text}}}"

    kinds = "".join("l" if column.is_text else "r" for column in table.columns)
    head = " & ".join(plain(column.name) for column in table.columns)
    lines = [
        "% needs \\usepackage{booktabs,longtable}",
        rf"\begin{{longtable}}{{{kinds}}}",
        rf"\caption{{{plain(table.title)}}} \\",
        r"\toprule",
        rf"{head} \\",
        r"\midrule",
        r"\endhead",
        *(" & ".join(_shown(table, row, plain, bold)) + r" \\" for row in table.rows),
        r"\bottomrule",
        *(
            rf"\multicolumn{{{len(table.columns)}}}{{p{{0.9\linewidth}}}}{{{plain(note)}}} \\"
            for note in table.notes
        ),
        r"\end{longtable}",
    ]
    return "\n".join(lines) + "\n"


def as_csv(table: Table) -> str:
    """Full precision, no title and no notes; a `Spread` becomes two columns, no text a formula."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    heads = ([c.name, f"{c.name} sd"] if c.spread else [c.name] for c in table.columns)
    writer.writerow([guarded(name) for names in heads for name in names])
    for row in table.rows:
        parts = (_csv_cells(cell, c) for cell, c in zip(row, table.columns, strict=True))
        writer.writerow([value for values in parts for value in values])
    return text.getvalue()


def _csv_cells(cell: Cell, column: Column) -> list[object]:
    if isinstance(cell, Spread):
        return [cell.mean, cell.sd]
    empty = cell is None or cell != cell
    value = guarded(cell) if isinstance(cell, str) else cell
    return ["" if empty else value] * (2 if column.spread else 1)


def _shown(
    table: Table,
    row: Sequence[Cell],
    plain: Callable[[str], str],
    bold: Callable[[str], str],
) -> list[str]:
    texts = []
    for cell, column in zip(row, table.columns, strict=True):
        text = plain(show(cell, column))
        texts.append(bold(text) if isinstance(cell, Spread) and cell.is_best else text)
    return texts


def _one_line(text: str) -> str:
    return visible(text, one_line=True)


def _pipes(cells: Iterable[str]) -> str:
    return f"| {' | '.join(cells)} |"
