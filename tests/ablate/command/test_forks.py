"""Runs by a fork: the same as by a Python that is started, or not at all."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from antifragile.ablate.command import launch
from antifragile.ablate.command.command import Command
from antifragile.ablate.command.metrics import MetricSource
from antifragile.ablate.command.notes import RunNotes, StartedPython, read_notes
from antifragile.ablate.command.program import path_of_fork
from antifragile.ablate.sandbox.limits.mechanisms import NONE
from antifragile.ablate.sandbox.server import Server
from antifragile.ablate.study.experiment import CommandExperiment, Experiment
from antifragile.ablate.study.folder import read_ablation_folder
from antifragile.ablate.study.request import AblationRequest
from antifragile.ablate.study.running.launches import CommandRuns
from antifragile.ablate.study.server import StudyProcesses
from antifragile.ablate.study.study import AblationOutcome, run_ablation
from antifragile.store.ablation import AblationStore
from tests.ablate.study.small_study import EXPERIMENT, make_folder, write

FACTS = """\
import atexit, json, os, sys, threading, time
atexit.register(print, "at exit")
import __main__
main = {name: str(getattr(__main__, name)) for name in ("__name__", "__file__", "__package__")}
flags = (sys.dont_write_bytecode, sys.stdout.encoding, sys.stderr.errors, sys.stdin.read())
print(json.dumps([sys.argv, sys.orig_argv, sys.path, os.getcwd(), main, flags, __spec__ is None]))
print(os.environ["GIVEN"], "antifragile" in dict(os.environ), hash("text"))
import beside
threading.Thread(target=lambda: (time.sleep(0.2), print("from a thread"))).start()
def fail():
    raise ValueError("at the end")
ENDING
"""
ENDINGS = {
    "ends": "sys.exit()",
    "fails": "fail()",
    "says a code": "sys.exit(7)",
    "says a sentence": "sys.exit('no data')",
    "is interrupted": "raise KeyboardInterrupt",
}
SCRIPT = (
    EXPERIMENT
    + """

if __name__ == "__main__":
    import json, sys
    from model import build

    seed, order = map(int, sys.argv[1:3])
    found = run(build, seed, order)
    found = {name: float(value) for name, value in found.items()}
    with open(sys.argv[3] + "/m.json", "w") as file:
        json.dump(found, file)
"""
)


@pytest.mark.parametrize("how", ["script", "module"])
@pytest.mark.parametrize("ending", ENDINGS)
def test_a_fork_is_what_python_would_have_started(how: str, ending: str, tmp_path: Path) -> None:
    package = tmp_path / "place" / "pack"
    package.mkdir(parents=True)
    (package / "__init__.py").touch()
    for folder in (package, package.parent):
        (folder / "beside.py").write_text("print(__name__, __file__)")
    (package / "facts.py").write_text(FACTS.replace("ENDING", ENDINGS[ending]))
    words = ["pack/facts.py", "--a", "b"] if how == "script" else ["-m", "pack.facts", "--a", "b"]
    environment = {"GIVEN": "given", "PYTHONHASHSEED": "0", "PYTHONDONTWRITEBYTECODE": "1"}
    ways = {"cwd": package.parent, "env": environment, "stdin": subprocess.DEVNULL}
    python = [sys.executable, *words]
    started = subprocess.run(python, capture_output=True, text=True, check=False, **ways)

    fork = """
import json, os, sys
from antifragile.ablate.command.startup import forked
words, folder, environment, path, out, err = json.loads(sys.argv[1])
streams = [os.open(os.devnull, os.O_RDONLY)]
streams += [os.open(file, os.O_WRONLY | os.O_CREAT) for file in (out, err)]
pid = forked.start(words, folder, environment, path, streams, lambda: None)
sys.exit(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) % 256)
"""
    path = subprocess.run(
        [sys.executable, "-c", "import json, sys; print(json.dumps(sys.path[1:]))"],
        capture_output=True,
        text=True,
        check=True,
        env=environment,
    )
    files = [str(tmp_path / name) for name in ("out", "err")]
    given = [python, str(package.parent), environment, json.loads(path.stdout), *files]
    ran = subprocess.run(
        [sys.executable, "-c", fork, json.dumps(given)],
        env={**os.environ, "PYTHONHASHSEED": "0"},
        check=False,
    )
    out, err = (Path(file).read_text() for file in files)
    assert out == started.stdout
    assert err == started.stderr
    assert ran.returncode == started.returncode % 256


def studied(place: Path, name: str) -> tuple[AblationOutcome, list[bool]]:
    """A study of a script beside a model, and for each run whether it was forked."""
    source, variants = place / "source", place / "variants"
    words = f"{sys.executable} train.py {{seed}} {{order}} {{out}}"
    command = Command.read(words, folder=source)
    sources = tuple(MetricSource.read(f"json:{{out}}/m.json:{key}") for key in ("loss", "accuracy"))
    request = AblationRequest(
        name=name,
        experiment=Experiment.from_command(CommandExperiment(command=command, metrics=sources)),
        arms=["model-gate--identity", "model-extra--remove-branch"],
        seeds=(1, 2),
    )
    with (
        AblationStore(str(place / f"{name}.db")) as store,
        Server(workers=1, preload=(launch.__name__,), mechanisms=NONE, ends_all=True) as server,
    ):
        processes = StudyProcesses(server=server)
        outcome = run_ablation(request, read_ablation_folder(variants), store, processes=processes)
    notes = sorted((place / f"{name}.db.files").glob("*/runs/*/notes.jsonl"))
    return outcome, [read_notes(path).is_forked for path in notes]


@pytest.mark.slow
def test_a_study_by_forks_gives_the_same_numbers(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    make_folder(tmp_path)
    write(tmp_path / "source" / "train.py", SCRIPT)
    forks, are_forked = studied(tmp_path, "forks")
    assert are_forked.count(False) == 2  # the first two baselines
    assert are_forked.count(True) == 8
    monkeypatch.setattr(CommandRuns, "get_ready", lambda *_: None)
    starts, are_forked = studied(tmp_path, "starts")
    assert not any(are_forked)
    by_run = {(run.label, run.seed): run.metrics for run in starts.manifest.runs}
    assert {(run.label, run.seed): run.metrics for run in forks.manifest.runs} == by_run
    assert forks.notes == starts.notes


@pytest.mark.slow
def test_a_script_that_differs_in_a_fork_is_started(tmp_path: Path) -> None:
    make_folder(tmp_path)
    differs = "import sys\nWAS = 'torch' in sys.modules\n" + SCRIPT.replace(
        "found = {name", "found['loss'] += WAS\n    found = {name"
    )
    write(tmp_path / "source" / "train.py", differs)
    _, are_forked = studied(tmp_path, "differs")
    assert not any(are_forked)


def python(**changes: Any) -> StartedPython:
    plain: dict[str, Any] = {
        "program": ("train.py", "--seed", "1"),
        "prefix": sys.prefix,
        "path": ("/here",),
        "flags": {"optimize": sys.flags.optimize},
        "has_hook": False,
    }
    return StartedPython(**(plain | changes))


@pytest.mark.parametrize(
    "pythons",
    [
        (),
        (python(), python()),
        (python(program=("-O", "train.py")),),
        (python(program=("-c", "pass")),),
        (python(program=()),),
        (python(prefix="/elsewhere"),),
        (python(flags={"optimize": 2}),),
        (python(flags={"of_a_later_python": 0}),),
        (python(has_hook=True),),
    ],
)
def test_what_a_fork_would_not_be_is_started(pythons: tuple[StartedPython, ...]) -> None:
    assert path_of_fork(RunNotes(pythons=(python(),))) == ("/here",)
    assert path_of_fork(RunNotes(pythons=(python(program=("-m", "pack")),))) == ("/here",)
    assert path_of_fork(RunNotes(pythons=pythons)) == ()
