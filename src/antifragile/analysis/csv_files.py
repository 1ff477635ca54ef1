"""CSV files of results: the one reader, which checks every cell, and cells that are safe to open.

A column has one meaning wherever it stands, so its check is found by its name: what
``study export`` writes can be read back, and so can a file of anybody who keeps to these names.
Columns of other names are left out.

A spreadsheet takes a text that begins with ``=``, ``+``, ``-`` or ``@`` for a formula. In files of
ours such a text has a quote before it, which the reader takes off again.
"""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from antifragile._shown import visible
from antifragile.errors import DataError

_FORMULA = re.compile(r"'*[=+\-@\t\r]")
_MOST = 2.0**53


@dataclass(frozen=True, kw_only=True)
class ColumnKind:
    """The values that a column may hold.

    Args:
        words: The values in words, for messages.
        least: Smallest number.
        most: Largest number.
        is_whole: Whether numbers are whole.
    """

    words: str
    least: float = 0
    most: float = _MOST
    is_whole: bool = False


TEXT = ColumnKind(words="a text without control characters")
PERCENT = ColumnKind(words="percent, 0 to 100", most=100)
COUNT = ColumnKind(words="a whole number of at least 0", is_whole=True)
NUMBER = ColumnKind(words="a whole number of at least 1", least=1, is_whole=True)
KINDS = {
    **{"study": TEXT, "architecture": TEXT, "mode": TEXT, "trial": NUMBER},
    **{"meta_loop": NUMBER, "meta_loops": NUMBER, "peak_meta_loop": NUMBER},
    **{"peak_validation_accuracy": PERCENT, "final_validation_accuracy": PERCENT},
    **{"test_accuracy": PERCENT, "validation_accuracy": PERCENT, "bounty_accuracy": PERCENT},
    **{"peak_correct": COUNT, "final_correct": COUNT, "test_correct": COUNT},
    **{"validation_correct": COUNT, "bounty": COUNT},
}


def read_csv(path: Path, columns: Sequence[str], *, key: Sequence[str], what: str) -> pd.DataFrame:
    """Read the known columns of a CSV and check every cell of them.

    Args:
        path: The file.
        columns: Columns it must have; other known ones may be there.
        key: Columns that together differ in every row, as far as they are there.
        what: Name of its rows, for messages.

    Returns:
        A column for each name of `KINDS` that the heading has: texts, whole numbers or floats.

    Raises:
        DataError: Missing, not CSV, without those columns, or with a cell of another kind; the
            message names line and column.
    """
    heading, columns_of_cells, lines = _read_cells(path, what)
    if missing := [column for column in columns if column not in heading]:
        raise DataError(
            f"{path} lacks the column(s) {', '.join(missing)}; expected {', '.join(columns)}."
        )
    frame = pd.DataFrame(index=pd.RangeIndex(len(lines)))
    for name, cells in zip(heading, columns_of_cells, strict=True):
        if name in frame:
            raise DataError(f"{path} has two columns {name!r}; keep one of them.")
        if name in KINDS:
            checked = _texts if KINDS[name] is TEXT else _numbers
            values, fits = checked(cells, KINDS[name])
            if not fits.all():
                row = int((~fits).argmax())
                got = f"{cells[row]!r:.80}" if cells[row].strip() else "empty"
                raise DataError(
                    f"{path}, line {lines[row]}: {name} is {got}; expected {KINDS[name].words}."
                )
            frame[name] = values
    _check_key(frame, [name for name in key if name in frame], path, lines)
    return frame


def _read_cells(path: Path, what: str) -> tuple[list[str], list[Sequence[str]], list[int]]:
    """Heading, the cells of each column, and the line on which each row ends."""
    try:
        text = path.read_bytes().decode("utf-8-sig")
    except OSError as error:
        raise DataError(f"cannot read {path}: {error.strerror or error}.") from error
    except UnicodeDecodeError as error:
        line = error.object.count(b"\n", 0, error.start) + 1
        raise DataError(
            f"{path}, line {line}: byte {error.object[error.start]:#04x} is not UTF-8; save the "
            "file as UTF-8."
        ) from error
    reader = csv.reader(io.StringIO(text, newline=""), strict=True)
    rows, lines = list[list[str]](), list[int]()
    try:
        heading = next(reader, [])
        for row in reader:
            if row:
                rows.append(row)
                lines.append(reader.line_num)
                if len(row) != len(heading):
                    raise DataError(
                        f"{path}, line {reader.line_num} has {len(row)} cells; the heading has "
                        f"{len(heading)}."
                    )
    except csv.Error as error:
        raise DataError(
            f"{path} is not a CSV file of {what}: line {reader.line_num}, {error}."
        ) from error
    columns: list[Sequence[str]] = list(zip(*rows, strict=True)) if rows else [()] * len(heading)
    return [name.strip() for name in heading], columns, lines


def _texts(cells: Sequence[str], _: ColumnKind) -> tuple[np.ndarray, np.ndarray]:
    """The texts of a column, and which of them are none."""
    places, found = pd.factorize(np.array(cells, dtype=object))
    texts = np.array([unguarded(text) for text in found], dtype=object)
    fits = [bool(text.strip()) and visible(text, one_line=True) == text for text in texts]
    return texts[places], np.array(fits, dtype=bool)[places]


def _numbers(cells: Sequence[str], kind: ColumnKind) -> tuple[np.ndarray, np.ndarray]:
    """The numbers of a column, and which of its cells hold one of its kind."""
    values = np.asarray(pd.to_numeric(np.array(cells, dtype=object), errors="coerce"), dtype=float)
    fits = (values >= kind.least) & (values <= kind.most)
    if not kind.is_whole:
        return values, fits
    fits &= values == np.round(values)
    return np.where(fits, values, 0).astype(np.int64), fits


def _check_key(frame: pd.DataFrame, key: Sequence[str], path: Path, lines: Sequence[int]) -> None:
    if (again := frame.duplicated(list(key))).any():
        row = int(again.to_numpy().argmax())
        cell = ", ".join(f"{name} {frame[name].iloc[row]!s:.80}" for name in key)
        raise DataError(f"{path}, line {lines[row]}: {cell} is there twice; keep one row of it.")


def guarded(text: str) -> str:
    """Return a text for a cell of a CSV; one that a spreadsheet would compute gets a quote."""
    return f"'{text}" if _FORMULA.match(text) else text


def unguarded(text: str) -> str:
    """Return the text of a cell without the quote that `guarded` put before it."""
    return text[1:] if text.startswith("'") and _FORMULA.match(text) else text


def guarded_frame(frame: pd.DataFrame) -> pd.DataFrame:
    """Return a frame for `DataFrame.to_csv`, its texts as `guarded`."""
    safe = frame.copy(deep=False)
    for name in frame.columns:
        if pd.api.types.is_string_dtype(frame[name].dtype):
            texts = frame[name].dropna().unique()
            safe[name] = frame[name].map({text: guarded(str(text)) for text in texts})
    return safe
