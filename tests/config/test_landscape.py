"""The paper's 98 architectures against its data and its equations."""

from __future__ import annotations

import csv
from pathlib import Path

from antifragile.config.landscape import PAPER_LANDSCAPE, matching_table

MATCHED_SQUARES = {115, 91, 71, 56, 44, 35, 26, 18, 12, 8, 4}


def test_there_are_98_different_ones() -> None:
    assert len({entry.architecture for entry in PAPER_LANDSCAPE}) == len(PAPER_LANDSCAPE) == 98


def test_they_are_those_of_the_papers_data(paper_trials: Path) -> None:
    with paper_trials.open() as file:
        papers = {row["architecture"].strip("[]") for row in csv.DictReader(file)}
    assert {entry.architecture.name for entry in PAPER_LANDSCAPE} == papers


def test_families() -> None:
    names = {entry.architecture.name for entry in PAPER_LANDSCAPE}
    assert {f"1*{2**n}" for n in range(1, 12)} < names
    assert {f"{2**n}*1" for n in range(1, 12)} < names
    assert {f"{n}*{n}" for n in range(1, 33)} < names


def test_parameters_follow_equation_1() -> None:
    for entry in PAPER_LANDSCAPE:
        ((layers, width),) = entry.architecture.blocks
        expected = width * 785 + (layers - 1) * width * (width + 1) + 10 * (width + 1)
        assert entry.parameters == expected


def test_what_counts_as_matched() -> None:
    for entry in PAPER_LANDSCAPE:
        ((layers, width),) = entry.architecture.blocks
        two_or_four = (layers == 2 and width >= 4) or (layers == 4 and width >= 17)
        expected = (
            (layers == 1 and width >= 4)
            or two_or_four
            or (layers == width and width in MATCHED_SQUARES)
        )
        assert entry.matched == expected, entry.architecture
        assert entry.label == ("Matched" if expected else "Asymmetric")


def test_equation_2_gives_eight_of_the_nineteen_printed_widths() -> None:
    rows = matching_table()
    assert len(rows) == 19
    printed = {row: row.architecture.blocks[0][1] for row in rows}
    hits = [row for row in rows if abs(row.equation_width - printed[row]) <= 1]
    assert len(hits) == 8


def test_mismatches_are_those_of_the_counts() -> None:
    for row in matching_table():
        ratio = row.architecture.parameter_count() / row.base.parameter_count()
        assert row.mismatch_percent == 100 * (ratio - 1)
        assert row.base.depth == 1
