"""Tables on a terminal: side by side where they fit, else a block for each row."""

from __future__ import annotations

import io
import re

from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console

from antifragile._fitted import FittedRows

NAMES = ("component", "ablation", "n", "contribution", "95 % low", "high", "p", "verdict")
ROW = ("Block.ln_1", "identity", "10", "0.01234", "-0.00008", "0.02476", "0.0020", "helps")
TEXTS = ("component", "ablation", "verdict")


def drawn(rows: list[tuple[str, ...]], width: int) -> str:
    """The rows on a terminal of that width."""
    shown = io.StringIO()
    fitted = FittedRows(names=NAMES, is_text=[name in TEXTS for name in NAMES], rows=rows)
    Console(file=shown, width=width, highlight=False).print(fitted)
    return shown.getvalue()


def test_a_wide_terminal_has_the_rows_side_by_side() -> None:
    head, row = drawn([ROW], 100).splitlines()
    assert head.split() == " ".join(NAMES).split()
    assert row.split() == list(ROW)


def test_a_narrow_one_has_broken_headings_and_a_narrower_one_blocks() -> None:
    assert drawn([ROW], 76).splitlines()[-1].split() == list(ROW)
    block = [line.rstrip() for line in drawn([ROW], 50).splitlines()]
    assert block == [
        "Block.ln_1  identity",
        "  n 10   contribution 0.01234   95 % low -0.00008",
        "  high 0.02476   p 0.0020   verdict helps",
    ]


@given(width=st.integers(24, 120), name=st.text("ab_. ", min_size=1, max_size=60))
def test_no_number_is_broken_and_no_line_too_long(width: int, name: str) -> None:
    said = drawn([(name, *ROW[1:])], width)
    assert all(len(line) <= width for line in said.splitlines())
    numbers = [cell for cell in ROW if re.fullmatch(r"[-.\d]+", cell)]
    assert all(number in said.split() for number in numbers)
