"""Commands as users type them: split without a shell, places filled in, nonsense refused."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from antifragile.ablate.command.command import Command, filled, repository_of
from antifragile.errors import UsageError

PYTHON = sys.executable


def test_a_command_is_split_as_a_shell_does_and_filled_in(tmp_path: Path) -> None:
    text = f"{PYTHON} -m train 'a b' model.width=4 hydra.run.dir={{out}} seed={{seed}} '{{{{x}}}}'"
    command = Command.read(text, folder=tmp_path)
    words = command.filled({"seed": "3", "out": "/o", "order": "9"})
    assert words[1:] == [
        "-m",
        "train",
        "a b",
        "model.width=4",
        "hydra.run.dir=/o",
        "seed=3",
        "{x}",
    ]


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("", "--command is empty"),
        ("<python> train.py 'open", "cannot be split into words: No closing quotation"),
        ("<python> train.py > log.txt", "run without a shell, which '>' asks for"),
        ("<python> a.py && <python> b.py", "run without a shell, which '&&' asks for"),
        ("no-such-program train.py", "starts with 'no-such-program', which is no program here"),
        ("<python> train.py {sed}", "unknown place {sed}; did you mean 'seed'?"),
        ("<python> train.py {seed:03d}", "unknown place {seed}"),
        ("<python> train.py {", "for plain braces"),
    ],
)
def test_nonsense_is_refused_in_a_sentence(text: str, sentence: str, tmp_path: Path) -> None:
    with pytest.raises(UsageError) as refused:
        Command.read(
            text.replace("<python>", PYTHON).replace("{{", "{").replace("}}", "}"), folder=tmp_path
        )
    assert sentence in str(refused.value)


def test_the_repository_is_the_folder_under_version_control(tmp_path: Path) -> None:
    deep = tmp_path / "code" / "scripts"
    deep.mkdir(parents=True)
    assert repository_of(deep) == deep
    (tmp_path / "code" / ".git").mkdir()
    assert repository_of(deep) == tmp_path / "code"


def test_plain_braces_stay() -> None:
    assert filled("{{a: {seed}}}", {"seed": "1"}, "--command") == "{a: 1}"


def test_a_place_in_doubled_braces_is_none(tmp_path: Path) -> None:
    command = Command.read("python train.py --out={{out}} --seed={seed}", folder=tmp_path)
    assert command.takes("seed")
    assert not command.takes("out")
