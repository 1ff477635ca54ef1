"""What others named is shown as it stands: no escape, no markup, nothing a terminal lacks."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from rich.text import Text

from antifragile.cli.console import plain_table, stderr, stdout
from tests.cli.commands import environment, run_process, write_spec
from tests.cli.conftest import Cli

HEADING = "architecture,mode,trial,peak_validation_accuracy,test_accuracy\n"
MODES = ("none", "decay", "dropout", "full", "hidden", "output")
STEERING = "\x1b[31m[red]:smile:\x9b2J\u202e1*4"


def trials(path: Path, mode: str, shape: str = "1*4") -> None:
    modes = (*MODES, mode)
    rows = [f"{shape},{m},{n},{50 + n + k},{40 + n}" for k, m in enumerate(modes) for n in (1, 2)]
    path.write_text(HEADING + "\n".join(rows))


@pytest.mark.parametrize(
    "words",
    [
        "classify t.csv --zero-r 10 --measure test",
        "compare-modes t.csv --zero-r 10",
        "table V t.csv --zero-r 10",
        "table V t.csv --zero-r 10 --format markdown",
        "table V t.csv --zero-r 10 --format latex",
    ],
)
def test_a_name_that_steers_a_terminal_is_shown_in_every_table(
    words: str, cli: Cli, home: Path
) -> None:
    trials(home / f"{STEERING}.csv", "further")
    said = cli(*[f"{STEERING}.csv" if word == "t.csv" else word for word in words.split()])
    assert said.code == 0, said
    assert "\x1b" not in said.out + said.err
    assert "\x9b" not in said.out
    plain = (said.out + said.err).replace("\\textbackslash{}", "\\")
    assert r"\x1b[31m" in plain
    assert "[red]" in plain


def test_a_name_that_steers_a_terminal_is_shown_in_messages(cli: Cli, home: Path) -> None:
    said = cli("classify", "\x1b[31m.csv", "--zero-r", 10)
    assert said.err.startswith(r"error: cannot read \x1b[31m.csv: ")
    said = cli("figure", "regimes", "t.csv", "--targets", "\x1b]0;x\x07")
    assert "\x1b" not in said.err
    assert "\x07" not in said.err
    said = cli("train", "--mode", "[red]\x1b[2J")
    assert r"[red]\x1b[2J" in said.err
    said = cli("study", "\x1b[31mrun")
    assert "\x1b" not in said.err


def test_a_page_and_a_figure_hold_no_control_characters(cli: Cli, home: Path) -> None:
    name = f"{STEERING}$\\foo$.csv"
    trials(home / name, "further")
    assert cli("report", name, "--zero-r", 10, "--out", "page").code == 0
    drawn = cli("figure", "baseline-performance", name, "--zero-r", 10, "--out", "g.svg")
    assert drawn.code == 0, drawn
    for path in [home / "page" / "report.html", *home.glob("*.svg")]:
        content = path.read_bytes()
        assert not any(byte in content for byte in (b"\x1b", b"\x00", b"\x07")), path


def test_a_long_value_is_cut_in_errors(cli: Cli) -> None:
    for words in (("train", "--mode"), ("study", "status", "--store"), ("data", "info")):
        said = cli(*words, "x" * 5000)
        assert said.code in (1, 2)
        assert " ... " in said.err
        assert len(said.err) < 1500


def test_names_are_no_markup(capsys: pytest.CaptureFixture[str]) -> None:
    table = plain_table("[bold]name[/]", title="[red]title[/]")
    table.add_row("[link=x]a[/link] :smile: [/]")
    stdout().print(table, "[/nothing]")
    said = capsys.readouterr().out
    assert "[bold]name[/]" in said
    assert "[red]title[/]" in said
    assert "[link=x]a[/link] :smile: [/]" in said
    assert "[/nothing]" in said


def test_a_line_of_progress_is_replaced_by_the_next(capsys: pytest.CaptureFixture[str]) -> None:
    stderr().print("1 of 2\x1b\r", end="\r")
    stderr().print(Text("2 of\x1b 2"), end="\r")
    assert capsys.readouterr().err == "1 of 2\\x1b\\r\r2 of\\x1b 2\r"


@pytest.mark.parametrize(
    ("encoding", "words"),
    [
        ("ascii", ("study", "status", "--store", "runs.db")),
        ("ascii", ("table", "V", "runs.db")),
        ("ascii", ("study", "run", "s.toml", "--store", "runs.db")),
        ("ascii", ("study", "run", "--help")),
        ("ascii", ("study", "status", "--store", "größe\u2603.db")),
        ("latin-1", ("table", "V", "runs.db")),
        ("cp437", ("study", "run", "--help")),
    ],
)
def test_a_terminal_that_is_not_utf_8_gets_what_it_can_show(
    encoding: str, words: tuple[str, ...], cli: Cli, home: Path
) -> None:
    write_spec(home / "s.toml", name="größe \u2603")
    assert cli("study", "run", "s.toml", "--store", "runs.db", "--workers", 1).code == 0
    settings = {"PYTHONIOENCODING": encoding, "LC_ALL": "C"}
    said = run_process(home, *words, env=environment(home) | settings, encoding=encoding, text=None)
    assert said.code == (2 if words[-1].startswith("größe") else 0), said
    assert "UnicodeEncodeError" not in said.err
    assert "internal error" not in said.err
    if words[0] == "table":
        assert (" ± " if encoding == "latin-1" else " +- ") in said.out


def test_a_file_name_that_is_not_utf_8_is_named(tmp_path: Path) -> None:
    said = run_process(tmp_path, "study", "status", "--store", os.fsdecode(b"\xff.db"))
    assert r"there is no store at \xff.db" in said.err


def test_a_study_name_with_brackets_is_shown_as_it_is(cli: Cli, home: Path) -> None:
    write_spec(home / "s.toml", name="[red]=1+1[/]")
    assert (
        "[red]=1+1[/]: peak" in cli("study", "run", "s.toml", "--store", "r.db", "--workers", 1).out
    )
    assert "[red]=1+1[/]" in cli("study", "status", "--store", "r.db").out
    exported = cli("study", "export", "--store", "r.db", "--table", "trials").out
    assert exported.splitlines()[1].startswith("[red]=1+1[/],")


def test_no_cell_of_an_export_is_a_formula(cli: Cli, home: Path) -> None:
    write_spec(home / "s.toml", name="=cmd|' /C calc'!A0")
    assert cli("study", "run", "s.toml", "--store", "r.db", "--workers", 1).code == 0
    for words in (("--table", "trials"), ()):
        exported = cli("study", "export", "--store", "r.db", *words).out.splitlines()
        cells = [cell for line in exported[1:] for cell in line.split(",")]
        assert cells
        assert not [cell for cell in cells if cell[:1] in ("=", "@", "+")]
    trials(home / "t.csv", "=1+1")
    said = cli("table", "V", "t.csv", "--zero-r", 10, "--format", "csv").out
    assert "'=1+1" in said.splitlines()[0]
