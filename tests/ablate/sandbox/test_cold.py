"""A fresh Python imports variants, each in a fork of its own, and says what went wrong."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from antifragile.ablate.sandbox.cold import ColdImport, FreshPython

MODULES = {
    "": "import sys\nassert sys.modules.get('antifragile') is None\nprint('noise')",
    "ModuleNotFoundError: import of antifragile halted; None in sys.modules": "import antifragile",
    "ZeroDivisionError: division by zero": "1 / 0",
    "no luck": "import sys; sys.exit('no luck')",
    "exit code 3": "import os; os._exit(3)",
    "exit code -9": "import os, signal; os.kill(os.getpid(), signal.SIGKILL)",
    "RuntimeError: what was said": "import sys\nraise RuntimeError('what was said')",
}


Start = Callable[..., FreshPython]


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Start]:
    """Start a fresh Python; it is closed at the end."""
    started: list[FreshPython] = []

    def begin(*packages: str, timeout_s: float = 60) -> FreshPython:
        environment = {**os.environ, "PYTHONPATH": str(tmp_path)}
        place = tmp_path / f"fresh-{len(started)}"
        python = FreshPython(packages, folder=place, environment=environment, timeout_s=timeout_s)
        started.append(python)
        return python

    yield begin
    for python in started:
        python.close()


def imports(folder: Path, *texts: str) -> list[ColdImport]:
    found = []
    for number, text in enumerate(texts):
        place = folder / f"variant-{number}"
        place.mkdir()
        (place / "model.py").write_text(text + "\n")
        here, script = str(place), str(place / "model.py")
        arm = ColdImport(
            folder=here, paths=[here], names=["model"], script=script, hidden=["antifragile"]
        )
        found.append(arm)
    return found


def said(python: FreshPython, arms: list[ColdImport]) -> list[str]:
    python.ask(arms)
    return python.answers(len(arms))


def test_the_last_line_of_each_import_that_fails(tmp_path: Path, start: Start) -> None:
    assert said(start(), imports(tmp_path, *MODULES.values())) == list(MODULES)


def test_packages_are_loaded_before_the_forks(tmp_path: Path, start: Start) -> None:
    text = "import sys\nassert 'fractions' in sys.modules\nassert 'nobody' not in sys.modules"
    arms = imports(tmp_path, text)
    assert said(start("fractions:Fraction", "nobody.knows", "json"), arms) == [""]
    assert said(start(), arms) == ["AssertionError"]


def test_it_writes_in_its_own_places_alone(tmp_path: Path, start: Start) -> None:
    """Packages in its folder; a variant in its copy, and in a home that no other one has."""
    (tmp_path / "writes.py").write_text(f"open({str(tmp_path / 'x')!r}, 'w')\n")
    home = "import os; open(os.path.expanduser('~/seen'), 'x')"
    arms = imports(
        tmp_path, "open('own.txt', 'w')", home, home, f"open({str(tmp_path)!r} + '/y', 'w')"
    )
    *fine, outside = said(start("writes"), arms)
    assert fine == ["", "", ""]
    assert outside.startswith("PermissionError: [Errno 13] a model may write only in the copy")
    assert not (tmp_path / "x").exists()
    assert not (tmp_path / "y").exists()


def test_one_that_ends_or_hangs_is_said(tmp_path: Path, start: Start) -> None:
    (tmp_path / "ends.py").write_text("import os; os._exit(4)\n")
    (tmp_path / "hangs.py").write_text("import time; time.sleep(99)\n")
    arms = imports(tmp_path, "pass", "pass")
    assert said(start("ends"), arms) == ["it ended before the import did"] * 2
    assert said(start("hangs", timeout_s=0.5), arms) == ["it was not done within 0.5 s"] * 2
