"""A fresh Python imports variants, each in a fork of its own, and says what went wrong."""

from __future__ import annotations

from pathlib import Path

from antifragile.ablate.sandbox.cold import import_cold
from antifragile.ablate.sandbox.job import Job
from antifragile.ablate.sandbox.server import Failure, Outcome, Server

MODULES = {
    "": "import sys\nassert sys.modules.get('antifragile') is None\nprint('noise')",
    "ModuleNotFoundError: import of antifragile halted; None in sys.modules": "import antifragile",
    "ZeroDivisionError: division by zero": "1 / 0",
    "no luck": "import sys; sys.exit('no luck')",
    "exit code 3": "import os; os._exit(3)",
    "exit code -9": "import os, signal; os.kill(os.getpid(), signal.SIGKILL)",
    "RuntimeError: what was said": "import sys\nraise RuntimeError('what was said')",
}


def outcome_of(
    folder: Path, server: Server, *texts: str, packages: tuple[str, ...] = ()
) -> Outcome:
    variants = []
    for number, text in enumerate(texts):
        place = folder / str(number)
        place.mkdir()
        (place / "model.py").write_text(text + "\n")
        here, script = str(place), str(place / "model.py")
        arm = {"folder": here, "paths": [here], "names": ["model"], "script": script}
        variants.append(arm)
    arguments = {"variants": variants, "packages": packages, "hidden": ["antifragile"]}
    return server.run_one(Job(target=import_cold, folder=str(folder), arguments=arguments))


def test_the_last_line_of_each_import_that_fails(tmp_path: Path, tracing: Server) -> None:
    assert outcome_of(tmp_path, tracing, *MODULES.values()).value == list(MODULES)


def test_packages_are_loaded_before_the_forks(tmp_path: Path, tracing: Server) -> None:
    text = "import sys\nassert 'fractions' in sys.modules\nassert 'nobody' not in sys.modules"
    packages = ("fractions:Fraction", "nobody.knows", "json")
    assert outcome_of(tmp_path, tracing, text, packages=packages).value == [""]
    (tmp_path / "again").mkdir()
    said = outcome_of(tmp_path / "again", tracing, text).value
    assert said == ["AssertionError"]


def test_a_package_that_ends_python_is_said(tmp_path: Path) -> None:
    (tmp_path / "ends.py").write_text("import os; os._exit(4)\n")
    arguments = {"variants": [], "packages": ["ends"], "hidden": []}
    job = Job(target=import_cold, folder=str(tmp_path), arguments=arguments)
    with Server(environment={"PYTHONPATH": str(tmp_path)}) as server:
        outcome = server.run_one(job)
    assert outcome.failure is Failure.REFUSED
    assert outcome.reason == "a fresh Python ended before the import: exit code 4"
