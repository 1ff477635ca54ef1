"""CSV files of results: the one reader, which checks every cell, and cells that are safe to open.

A column has one meaning wherever it stands, so its check is found by its name: what
``study export`` writes can be read back, and so can a file of anybody who keeps to these names.
Columns of other names are left out. Architectures and modes are spelled as a spec spells them, and
rows that contradict themselves or each other are refused (`csv_contradictions`).

A spreadsheet takes a text that begins with ``=``, ``+``, ``-`` or ``@`` for a formula. In files of
ours such a text has a quote before it, which the reader takes off again.
"""

from __future__ import annotations

import csv
import io
import logging
import math
import re
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from antifragile._shown import visible
from antifragile.analysis.csv_contradictions import contradictions, doubts
from antifragile.config.architecture import Architecture
from antifragile.config.modes import get_mode, is_mode, mode_names
from antifragile.errors import ArchitectureError, DataError

logger = logging.getLogger(__name__)

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
        spell: Turns a text into its canonical spelling; None for numbers.
    """

    words: str
    least: float = 0
    most: float = _MOST
    is_whole: bool = False
    spell: Callable[[str], str] | None = None


def _architecture_name(text: str) -> str:
    """The canonical name; of what is no architecture the text itself."""
    with suppress(ArchitectureError):
        return Architecture.parse(text).name
    return text.strip()


def _mode_name(text: str) -> str:
    """The canonical name of a mode, whatever its case if registered; else the text itself."""
    name = text.strip()
    if is_mode(name):
        return get_mode(name).name
    preset, bracket, options = name.partition("(")  # a preset may carry its options
    registered = {mode.casefold(): mode for mode in mode_names()}
    known = registered.get(preset.strip().casefold(), preset)
    return f"{known}{bracket}{options}"


_TEXT = "a text without control characters"
TEXT = ColumnKind(words=_TEXT, spell=str.strip)
ARCHITECTURE = ColumnKind(words=_TEXT, spell=_architecture_name)
MODE = ColumnKind(words=_TEXT, spell=_mode_name)
PERCENT = ColumnKind(words="percent, 0 to 100", most=100)
COUNT = ColumnKind(words="a whole number of at least 0", is_whole=True)
NUMBER = ColumnKind(words="a whole number of at least 1", least=1, is_whole=True)
KINDS = {
    **{"study": TEXT, "architecture": ARCHITECTURE, "mode": MODE, "trial": NUMBER},
    **{"meta_loop": NUMBER, "meta_loops": NUMBER, "peak_meta_loop": NUMBER},
    **{"peak_validation_accuracy": PERCENT, "final_validation_accuracy": PERCENT},
    **{"test_accuracy": PERCENT, "validation_accuracy": PERCENT, "bounty_accuracy": PERCENT},
    **{"peak_correct": COUNT, "final_correct": COUNT, "test_correct": COUNT},
    **{"validation_correct": COUNT, "bounty": COUNT},
}


def read_csv(
    path: Path,
    columns: Sequence[str],
    *,
    key: Sequence[str],
    what: str,
    zero_r: float = math.nan,
) -> pd.DataFrame:
    """Read the known columns of a CSV of one study and check every cell of them.

    What is possible but looks wrong, such as trials of different length, is logged as a warning.

    Args:
        path: The file.
        columns: Columns it must have; other known ones may be there.
        key: Columns that together differ in every row, as far as they are there; with
            ``meta_loop`` among them, the numbers of that column have no gap.
        what: Name of its rows, for messages.
        zero_r: ZeroR accuracy in percent, which tells percent from fractions; NaN when unknown.

    Returns:
        A column for each name of `KINDS` that the heading has: texts, whole numbers or floats.

    Raises:
        DataError: Missing, not CSV, without those columns or without rows, with a cell of another
            kind, with two studies, or with cells that contradict each other; the message names
            line and column.
    """
    heading, columns_of_cells, lines = _read_cells(path, what)
    if missing := [column for column in columns if column not in heading]:
        raise DataError(
            f"{path} lacks the column(s) {', '.join(missing)}; expected {', '.join(columns)}."
        )
    if not lines:
        raise DataError(f"{path} holds no {what}, only a heading.")
    frame = pd.DataFrame(index=pd.RangeIndex(len(lines)))
    for name, cells in zip(heading, columns_of_cells, strict=True):
        if name in frame:
            raise DataError(f"{path} has two columns {name!r}; keep one of them.")
        if name in KINDS:
            checked = _numbers if KINDS[name].spell is None else _texts
            values, fits = checked(cells, KINDS[name])
            if not fits.all():
                row = int((~fits).argmax())
                got = f"{cells[row]!r:.80}" if cells[row].strip() else "empty"
                raise DataError(
                    f"{path}, line {lines[row]}: {name} is {got}; expected {KINDS[name].words}."
                )
            frame[name] = values
    key = [name for name in key if name in frame]
    for row, words in contradictions(frame, key, zero_r=zero_r):
        raise DataError(f"{path}, line {lines[row]}: {words}")
    for row, words in doubts(frame, zero_r=zero_r):
        logger.warning("%s, line %d: %s", path, lines[row], words)
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
    heading = [name.strip() for name in heading]
    columns: list[Sequence[str]] = list(zip(*rows, strict=True)) if rows else [()] * len(heading)
    if rows and not text.endswith(("\n", "\r")):
        _warn_of_a_cut(path, heading[-1], columns[-1])
    return heading, columns, lines


def _warn_of_a_cut(path: Path, name: str, cells: Sequence[str]) -> None:
    """Say that the last cell of a file, which no line break ends, may be the begin of one."""
    others = cells[:-1]
    if name in KINDS and others and len(cells[-1]) < min(map(len, others)):
        logger.warning(
            "%s ends within a line, and its last %s, %s, is shorter than all others; the file may "
            "have been cut off.",
            *(path, name, cells[-1]),
        )


def _texts(cells: Sequence[str], kind: ColumnKind) -> tuple[np.ndarray, np.ndarray]:
    """The texts of a column in canonical spelling, and which of its cells hold one."""
    assert kind.spell is not None
    places, found = pd.factorize(np.array(cells, dtype=object))
    texts = [unguarded(text) for text in found]
    fits = [bool(text.strip()) and visible(text, one_line=True) == text for text in texts]
    spelled = np.array([kind.spell(text) for text in texts], dtype=object)
    return spelled[places], np.array(fits, dtype=bool)[places]


def _numbers(cells: Sequence[str], kind: ColumnKind) -> tuple[np.ndarray, np.ndarray]:
    """The numbers of a column, and which of its cells hold one of its kind."""
    texts = np.array(cells, dtype=object)
    values = np.array(pd.to_numeric(texts, errors="coerce"), dtype=float)
    is_number = ~np.isnan(values)
    values[is_number] = [_exact(text) for text in texts[is_number]]
    fits = (values >= kind.least) & (values <= kind.most)
    if not kind.is_whole:
        return values, fits
    fits &= values == np.round(values)
    return np.where(fits, values, 0).astype(np.int64), fits


def _exact(text: str) -> float:
    """Read a number to the last bit, which `to_numeric` may miss; NaN for what it took for one."""
    try:
        return float(text)
    except ValueError:  # a zero byte in its cell
        return math.nan


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
