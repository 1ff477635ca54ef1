"""A server without us imports variants, each in a child of its own, and says what went wrong."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from antifragile.ablate.sandbox import cold
from antifragile.ablate.sandbox.cold import import_variant
from antifragile.ablate.sandbox.job import Job, Limits
from antifragile.ablate.sandbox.server import Server

MODULES = {
    "": "import sys\nassert sys.modules.get('antifragile') is None\nprint('noise')",
    "ModuleNotFoundError: import of antifragile halted; None in sys.modules": "import antifragile",
    "ZeroDivisionError: division by zero": "1 / 0",
    "no luck": "import sys; sys.exit('no luck')",
    "exit code 4": "import sys; sys.exit(4)",
    "ended the process with exit code 3": "import os; os._exit(3)",
    "crashed (SIGSEGV)": "import ctypes; ctypes.string_at(0)",
    "RuntimeError: what was said": "import sys\nraise RuntimeError('what was said')",
}


Start = Callable[..., Server]


@pytest.fixture
def start(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Start]:
    """Start a server as `fresh_python` does; it is closed at the end."""
    started: list[Server] = []
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.setenv("PYTHONPATH", str(tmp_path), prepend=":")

    def begin(*packages: str, timeout_s: float = 60) -> Server:
        limits = Limits(timeout_s=timeout_s)
        server = Server(limits=limits, preload=(cold.__name__,), has_private_home=True)
        started.append(server)
        server.import_packages(packages, tmp_path / "no project")
        return server

    yield begin
    for server in started:
        server.close()


def imports(folder: Path, *texts: str) -> list[Job]:
    found = []
    for number, text in enumerate(texts):
        source, place = folder / f"variant-{number}", folder / f"copy-{number}"
        source.mkdir(exist_ok=True)
        (source / "model.py").write_text(text + "\n")
        job = Job(
            target=import_variant,
            folder=str(place),
            arguments={"names": ["model"], "hidden": ["antifragile"]},
            script=str(place / "model.py"),
            copied_from=(str(source),),
        )
        found.append(job)
    return found


def said(python: Server, jobs: list[Job]) -> list[str]:
    ended = dict(python.run(jobs))
    outcomes = [ended[number] for number in range(len(jobs))]
    return [item.reason if item.failure else item.value for item in outcomes]


def test_the_last_line_of_each_import_that_fails(tmp_path: Path, start: Start) -> None:
    assert said(start(), imports(tmp_path, *MODULES.values())) == list(MODULES)


def test_nothing_but_python_and_the_packages_is_loaded(tmp_path: Path, start: Start) -> None:
    text = (
        "import sys\nassert 'fractions' in sys.modules\n"
        "found = {name.partition('.')[0] for name in sys.modules}\n"
        "own = {'antifragile', '__main__', '_distutils_hack', 'model', 'sitecustomize'}\n"
        "assert not [n for n in found - own - sys.stdlib_module_names if not n.startswith('__')]\n"
    )
    jobs = imports(tmp_path, text)
    assert said(start("fractions:Fraction", "json", "nobody.knows"), jobs) == [""]
    assert said(start(), jobs) == ["AssertionError"]


def test_it_writes_in_its_own_places_alone(tmp_path: Path, start: Start) -> None:
    """Packages in its folder; a variant in its copy, and in a home that no other one has."""
    (tmp_path / "writes.py").write_text(f"open({str(tmp_path / 'x')!r}, 'w')\n")
    home = "import os; open(os.path.expanduser('~/seen'), 'x')"
    jobs = imports(
        tmp_path, "open('own.txt', 'w')", home, home, f"open({str(tmp_path)!r} + '/y', 'w')"
    )
    *fine, outside = said(start("writes"), jobs)
    assert fine == ["", "", ""]
    assert outside.startswith("PermissionError: [Errno 13] a model may write only in the copy")
    assert not (tmp_path / "x").exists()
    assert not (tmp_path / "y").exists()


def test_a_package_that_ends_or_hangs_is_left_out(tmp_path: Path, start: Start) -> None:
    (tmp_path / "ends.py").write_text("import os; os._exit(4)\n")
    (tmp_path / "hangs.py").write_text("import time; time.sleep(99)\n")
    for name in ("ends", "hangs"):
        server = start("fractions", name, timeout_s=2)
        assert server.packages == ("fractions",)
        assert said(server, imports(tmp_path, "pass")) == [""]


def test_an_import_that_hangs_is_ended(tmp_path: Path, start: Start) -> None:
    jobs = imports(tmp_path, "import time; time.sleep(99)")
    assert said(start(timeout_s=0.5), jobs) == ["did not end within 0.5 s"]


def test_torch_is_imported_once_for_all(start: Start) -> None:
    assert start("torch:nn").packages == ("torch:nn",)
