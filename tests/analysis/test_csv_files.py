"""CSV files of results: every cell is checked, and no text is a formula to a spreadsheet."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from antifragile.analysis.convergence import read_curves_csv
from antifragile.analysis.csv_files import KINDS, PERCENT, guarded, guarded_frame, unguarded
from antifragile.analysis.frames import read_trials_csv
from antifragile.errors import DataError

HEADING = "architecture,mode,trial,peak_validation_accuracy"
ROW = "1*4,none,1,50"


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "x.csv"


@pytest.mark.parametrize("column", [name for name, kind in KINDS.items() if kind is PERCENT])
@pytest.mark.parametrize(
    "cell", ["5000", "-700", "inf", "-inf", "nan", "abc", "", " ", "1e999", "50\0"]
)
def test_what_is_no_accuracy_is_refused_in_any_column(file: Path, column: str, cell: str) -> None:
    head = f"{HEADING},meta_loop,validation_accuracy,bounty_accuracy,test_accuracy,"
    names = (head + "final_validation_accuracy").split(",")
    row = dict(zip(names, f"{ROW},1,50,50,50,50".split(","), strict=True))
    lines = [",".join(names), ",".join(row.values()), ""]
    lines.append(",".join((row | {"trial": "2", column: cell}).values()))
    file.write_text("\n".join(lines))
    got = "empty" if not cell.strip() else repr(cell)
    for read in (read_trials_csv, read_curves_csv):
        with pytest.raises(DataError) as caught:
            read(file)
        message = f"{file}, line 4: {column} is {got}; expected percent, 0 to 100."
        assert str(caught.value) == message


@pytest.mark.parametrize(
    ("row", "message"),
    [
        (
            ",none,1,50",
            "line 2: architecture is empty; expected a text without control characters.",
        ),
        ("1*4, ,1,50", "line 2: mode is empty; expected a text"),
        (
            "\x1b[31m1*4,none,1,50",
            r"line 2: architecture is '\x1b[31m1*4'; expected a text without",
        ),
        ('1*4,"a\nb",1,50', r"line 3: mode is 'a\nb'; expected a text without control characters."),
        ("1*4,none,0,50", "line 2: trial is '0'; expected a whole number of at least 1."),
        ("1*4,none,1.5,50", "line 2: trial is '1.5'; expected a whole number"),
        ("1*4,none,1e300,50", "line 2: trial is '1e300'; expected a whole number"),
        ("1*4,none,1", "line 2 has 3 cells; the heading has 4."),
        ("1*4,none,1,50,7", "line 2 has 5 cells; the heading has 4."),
        ('1*4,"none,1,50', "is not a CSV file of trials: line 2, unexpected end of data."),
        ("1*4,none,1,50\n\n1*4,none,1,51", "line 4: architecture 1*4, mode none, trial 1 is there"),
    ],
)
def test_a_wrong_row_is_named(file: Path, row: str, message: str) -> None:
    file.write_text(f"{HEADING}\n{row}")
    with pytest.raises(DataError) as caught:
        read_trials_csv(file)
    assert message in str(caught.value)


def test_bytes_that_are_not_utf_8_and_double_columns_are_refused(file: Path) -> None:
    file.write_bytes(f"{HEADING}\n{ROW}\n".encode() + b"1*4,\xff,2,50")
    with pytest.raises(DataError, match="line 3: byte 0xff is not UTF-8"):
        read_trials_csv(file)
    file.write_text(f"{HEADING},mode\n{ROW},none")
    with pytest.raises(DataError, match="two columns 'mode'"):
        read_trials_csv(file)


def test_a_good_file_is_read_as_it_stands(file: Path) -> None:
    file.write_bytes(f"\ufeff{HEADING},my note\r\n\r\n{ROW},\r\n1*4,NA,2,1e1,x\r\n".encode())
    frame = read_trials_csv(file)
    assert frame.to_dict(orient="list") == {
        "architecture": ["1*4", "1*4"],
        "mode": ["none", "NA"],
        "trial": [1, 2],
        "peak_validation_accuracy": [50.0, 10.0],
    }


@pytest.mark.parametrize(
    ("read", "heading", "what"),
    [
        (read_trials_csv, HEADING, "trials"),
        (read_curves_csv, "architecture,mode,meta_loop,validation_accuracy", "curves"),
    ],
)
def test_a_file_of_no_rows_is_refused(
    file: Path, read: Callable[[Path], pd.DataFrame], heading: str, what: str
) -> None:
    file.write_text(f"{heading}\n\n")
    with pytest.raises(DataError) as caught:
        read(file)
    assert str(caught.value) == f"{file} holds no {what}, only a heading."


@pytest.mark.parametrize(
    ("kind", "spelled", "canonical"),
    [
        ("architecture", [" 1 * 4", "[1*4]", "'1*4", "1*4\u00a0"], ["1*4", "1*4", "'1*4", "1*4"]),
        ("architecture", ["[1*4, 1*4]", "[2*8,1*4]", " my net "], ["2*4", "[2*8, 1*4]", "my net"]),
        ("mode", ["output ", "OUTPUT", "None", " Sgld"], ["output", "output", "none", "sgld"]),
        (
            "mode",
            ["SAM (rho=0.1)", " Mine", "NA", "outptu"],
            ["sam(rho=0.1)", "Mine", "NA", "outptu"],
        ),
    ],
)
def test_names_are_spelled_as_in_a_spec(
    file: Path, kind: str, spelled: list[str], canonical: list[str]
) -> None:
    frame = pd.DataFrame({"architecture": "1*4", "mode": "none", "trial": [1, 2, 3, 4]})
    frame = frame.head(len(spelled)).assign(**{"peak_validation_accuracy": 50.0, kind: spelled})
    frame.to_csv(file, index=False)
    assert read_trials_csv(file)[kind].tolist() == canonical


@pytest.mark.parametrize(
    ("first", "second"),
    [("2*4,none,1,50", '"[1*4, 1*4]",none,1,51'), ("2*4,none,1,50", " 2 * 4,None ,1,51")],
)
def test_a_trial_in_two_spellings_is_there_twice(file: Path, first: str, second: str) -> None:
    file.write_text(f"{HEADING}\n{first}\n{second}\n")
    with pytest.raises(DataError, match=r"line 3: architecture 2\*4, mode none, trial 1 is there"):
        read_trials_csv(file)
    file.write_text(f"{HEADING},meta_loop,validation_accuracy\n{first},1,5\n{second},1,5\n")
    with pytest.raises(
        DataError, match=r"line 3: architecture 2\*4, mode none, trial 1, meta_loop"
    ):
        read_curves_csv(file)


def test_two_studies_in_one_file_are_refused(file: Path) -> None:
    file.write_text(
        f"study,{HEADING},meta_loop,validation_accuracy\nfirst ,{ROW},1,5\n"
        f"first,1*4,none,2,50,1,5\nsecond,{ROW},1,5\n"
    )
    for read in (read_trials_csv, read_curves_csv):
        with pytest.raises(DataError) as caught:
            read(file)
        assert str(caught.value) == (
            f"{file}, line 4: the studies 'first' and 'second' stand in one file; keep the rows of "
            "one study."
        )


@pytest.mark.parametrize(
    ("end", "is_doubted"), [("8", True), ("83.6", True), ("83.67", False), ("8\n", False)]
)
def test_a_last_cell_that_may_be_cut_is_doubted(
    file: Path, caplog: pytest.LogCaptureFixture, end: str, is_doubted: bool
) -> None:
    file.write_text(f"{HEADING}\n1*4,none,1,83.50\n1*4,none,2,84.25\n1*4,none,3,{end}")
    assert read_trials_csv(file)["peak_validation_accuracy"].iloc[-1] == float(end)
    said = f"{file} ends within a line, and its last peak_validation_accuracy, {end}, is shorter"
    assert (said in caplog.text) == is_doubted
    assert bool(caplog.records) == is_doubted


@given(st.text())
def test_a_guarded_text_comes_back(text: str) -> None:
    assert unguarded(guarded(text)) == text
    assert guarded(text)[:1] not in {"=", "+", "-", "@", "\t", "\r"}


@pytest.mark.parametrize("name", ["=1+1", "+1", "-x", "@a", "'=1", "''-1", "it's", "'a"])
def test_a_formula_goes_through_a_file_and_back(file: Path, name: str) -> None:
    frame = pd.DataFrame(
        {"architecture": [name], "mode": ["none"], "trial": [1], "peak_validation_accuracy": [5.0]}
    )
    guarded_frame(frame).to_csv(file, index=False)
    pd.testing.assert_frame_equal(read_trials_csv(file), frame)
