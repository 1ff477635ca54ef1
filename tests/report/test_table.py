"""One table, four ways to write it."""

import csv
import io

from rich.console import Console

from antifragile.report.table import Column, Spread, Table, as_csv, as_latex, as_markdown, as_rich

TABLE = Table(
    title="a_b: 100 % of <b>",
    columns=[
        Column(name="architecture", is_text=True),
        Column(name="none", spread=True),
        Column(name="p|q", decimals=3),
        Column(name="n"),
    ],
    rows=[
        ["1*2048", Spread(98.193, 0.0605, is_best=True), 0.12345, 1234],
        ["[bold]x", None, float("nan"), None],
    ],
    notes=["one & two"],
)


def test_a_terminal_gets_rounded_numbers_and_no_markup_of_ours() -> None:
    console = Console(file=io.StringIO(), width=100)
    console.print(as_rich(TABLE))
    lines = console.file.getvalue().splitlines()  # type: ignore[attr-defined]
    assert [line.split() for line in lines[:4]] == [
        ["a_b:", "100", "%", "of", "<b>"],
        ["architecture", "none", "p|q", "n"],
        ["1*2048", "98.19", "±", "0.06", "0.123", "1,234"],
        ["[bold]x", "-", "-", "-"],
    ]


def test_markdown_escapes_what_it_would_read_as_markup() -> None:
    assert as_markdown(TABLE).splitlines() == [
        "**a_b: 100 % of &lt;b>**",
        "",
        "| architecture | none | p\\|q | n |",
        "| --- | ---: | ---: | ---: |",
        "| 1\\*2048 | **98.19 ± 0.06** | 0.123 | 1,234 |",
        "| [bold]x | - | - | - |",
        "",
        "one & two",
    ]


def test_latex_escapes_every_special_character() -> None:
    text = as_latex(TABLE)
    assert r"\caption{a\_b: 100 \% of \textless{}b\textgreater{}} \\" in text
    assert r"1$\ast$2048 & \textbf{98.19 $\pm$ 0.06} & 0.123 & 1,234 \\" in text
    assert r"one \& two" in text
    assert text.count(r"\begin{longtable}{lrrr}") == text.count(r"\end{longtable}") == 1


def test_csv_keeps_every_digit_and_splits_a_spread() -> None:
    assert list(csv.reader(io.StringIO(as_csv(TABLE)))) == [
        ["architecture", "none", "none sd", "p|q", "n"],
        ["1*2048", "98.193", "0.0605", "0.12345", "1234"],
        ["[bold]x", "", "", "", ""],
    ]
