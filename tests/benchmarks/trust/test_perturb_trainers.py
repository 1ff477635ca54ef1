"""The documented table of presets and trainers is what every cell does when it is run again."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from antifragile.optim import PRESETS
from benchmarks.trust import perturb_trainers
from benchmarks.trust.trainers import packages, processes
from benchmarks.trust.trainers.judging import Judged
from tests.required_here import not_here

DOCUMENT = Path(__file__).parents[3] / "docs" / "perturbation.md"
ALONE = [name for name in perturb_trainers.COLUMNS if name not in processes.COLUMNS]

pytestmark = [
    pytest.mark.filterwarnings("ignore:torch.distributed is disabled:UserWarning"),
    pytest.mark.filterwarnings("ignore:.*is not a leaf Tensor is being accessed:UserWarning"),
]


def documented() -> dict[str, dict[str, Judged]]:
    """Read the table back: column, preset, verdict."""
    heading = re.escape(perturb_trainers.HEADING)
    [section] = re.findall(
        rf"^## {heading}\n(.*?)(?=^## |\Z)", DOCUMENT.read_text(), re.DOTALL | re.MULTILINE
    )
    rows = [
        [cell.strip() for cell in line.strip("|").split("|")]
        for line in section.splitlines()
        if line.startswith("|")
    ]
    notes = dict(re.findall(r"^(\d+)\. (.*)$", section, re.MULTILINE))
    names = rows[0][1:]
    found: dict[str, dict[str, Judged]] = {name: {} for name in names}
    for preset, *cells in rows[2:]:
        for name, cell in zip(names, cells, strict=True):
            word, _, number = cell.partition(" (")
            sentence = notes[number.rstrip(")")] if number else ""
            found[name][preset.strip("`")] = Judged(word, sentence)
    return found


DOCUMENTED = documented()


def assert_as_documented(name: str, found: dict[str, Judged]) -> None:
    said = {
        preset: Judged(judged.word, perturb_trainers.general(judged.sentence))
        for preset, judged in found.items()
    }
    assert said == DOCUMENTED[name]


def test_the_table_has_every_preset_in_every_trainer_and_nothing_that_differs() -> None:
    assert tuple(DOCUMENTED) == perturb_trainers.COLUMNS
    assert all(list(cells) == list(PRESETS) for cells in DOCUMENTED.values())
    words = {judged.word for cells in DOCUMENTED.values() for judged in cells.values()}
    assert words <= {"exact", "works", "refused"}


@pytest.mark.parametrize("name", ALONE)
def test_a_trainer_does_what_the_table_says(name: str) -> None:
    found = perturb_trainers.column(name)
    if found is None:
        not_here(
            f"{packages.CASES[name][0]} is not installed (pip install 'antifragile[test-all]')"
        )
    assert found is not None
    assert_as_documented(name, found)


@pytest.mark.slow
def test_two_processes_do_what_the_table_says() -> None:
    for name, found in processes.run_in_two_processes().items():
        assert_as_documented(name, found)
