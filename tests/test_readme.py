"""The README's commands run as printed, and its Python as well."""

import re
import shlex
from pathlib import Path

import pytest

from antifragile.cli.main import run

ROOT = Path(__file__).parent.parent
BLOCKS = re.findall(r"```(\w*)\n(.*?)```", (ROOT / "README.md").read_text(), re.DOTALL)
COMMANDS = [
    line.split("#")[0].strip()
    for _, block in BLOCKS
    for line in block.splitlines()
    if line.startswith("antifragile ")
]


def test_the_readme_names_the_two_commands_and_has_no_gaps() -> None:
    text = (ROOT / "README.md").read_text()
    assert "`make demo`" in text
    assert "`make test`" in text
    assert not re.search(r"@[A-Z]+@", text)
    assert len(COMMANDS) >= 8


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_the_commands_run_as_printed(
    mnist_dir: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ANTIFRAGILE_DATA", str(mnist_dir))
    monkeypatch.chdir(tmp_path)
    (tmp_path / "studies").symlink_to(ROOT / "studies")
    for command in COMMANDS:
        assert run(shlex.split(command)[1:]) == 0, command


PYTHON = [block for language, block in BLOCKS if language == "python"]


def run_block(block: str) -> dict[str, object]:
    names: dict[str, object] = {}
    exec(compile(block, "README.md", "exec"), names)
    return names


def test_the_study_from_python_runs_as_printed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    names = run_block(PYTHON[0])
    assert names["outcome"].n_run == 36  # type: ignore[attr-defined]


def test_the_engine_around_own_training_runs_as_printed() -> None:
    names = run_block(PYTHON[1])
    records = names["records"]
    assert records[-1].bounty > 0.7  # type: ignore[index]


def test_the_perturbed_loop_runs_as_printed() -> None:
    names = run_block(PYTHON[2])
    (metrics,) = names["handle"].metrics()  # type: ignore[attr-defined]
    assert metrics["noise_norm"] > 0
    assert len(PYTHON) == 3
