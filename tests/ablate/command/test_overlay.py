"""Edited files as a run sees them: whatever way the script finds them, or the run is an error."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from antifragile.ablate.command import launch
from antifragile.ablate.command.overlay import can_mount
from antifragile.ablate.sandbox.limits.mechanisms import NONE
from antifragile.ablate.sandbox.server import Server
from tests.ablate.command.launching import Repository

Make = Callable[..., Repository]
MODEL = "VALUE = 1\n"
EDITED = {"model.py": "VALUE = 2\n"}
WRITE = """
import json, pathlib, sys
pathlib.Path("written.txt").write_text("by the run")
pathlib.Path(__file__).with_name("beside.txt").write_text("by the run")
data = (pathlib.Path(__file__).resolve().parent / "data.txt").read_text()
out = pathlib.Path(sys.argv[1])
(out / "m.json").write_text(json.dumps({"value": model.VALUE + float(data)}))
"""
SCRIPTS = {
    "plain import": "import model\n",
    "resolved": "import pathlib, sys\n"
    "sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent))\nimport model\n",
    "runpy": "import runpy, types\n"
    "model = types.SimpleNamespace(**runpy.run_path(__file__.replace('train', 'model')))\n",
    "exec": "import types\nmodel = types.SimpleNamespace()\n"
    "code = compile(open('model.py').read(), 'model.py', 'exec')\nexec(code, vars(model))\n",
}


@pytest.fixture(params=[True, False], ids=["overlay", "copy"])
def make(request: pytest.FixtureRequest, server: Server, tmp_path: Path) -> Make:
    """Make a repository whose runs use an overlay, or a copy."""
    root = tmp_path / "repo"
    root.mkdir()
    if request.param and not can_mount(str(root), tmp_path / "tried"):
        pytest.skip("this system lets no process mount an overlay: runs get a copy")

    def make_it(script: str, **options: object) -> Repository:
        files = {"train.py": script + WRITE, "model.py": MODEL, "data.txt": "10"}
        return Repository(
            server=server,
            root=root,
            files=files | dict(options.pop("files", {})),  # type: ignore[call-overload]
            command=str(options.pop("command", "train.py {out}")),
            mounts=request.param,
            **options,  # type: ignore[arg-type]
        )

    return make_it


@pytest.mark.parametrize("way", SCRIPTS)
def test_a_script_finds_the_edited_file(way: str, make: Make) -> None:
    repository = make(SCRIPTS[way])
    before = repository.digests()
    assert repository.run().outcome.value == {"value": 11.0}
    assert repository.run(EDITED).outcome.value == {"value": 12.0}
    assert repository.digests() == before


def test_a_package_in_src_is_found_by_its_module(make: Make) -> None:
    package = {"src/pack/__init__.py": "", "src/pack/layers.py": MODEL}
    package["src/pack/train.py"] = "from pack import layers as model\n" + WRITE.replace(
        ".resolve().parent ", ".resolve().parents[2] "
    )
    repository = make("", files=package, command="-m pack.train {out}", folder="src")
    edited = {"src/pack/layers.py": "VALUE = 5\n"}
    assert repository.run(edited).outcome.value == {"value": 15.0}


def test_the_absolute_path_of_the_repository_never_leads_to_the_unedited_file(make: Make) -> None:
    repository = make("")
    root = str(repository.root)
    script = f"import sys\nsys.path.insert(0, {root!r})\nimport model\n" + WRITE
    (repository.root / "train.py").write_text(script)
    ended = repository.run(EDITED)
    if repository.mounts:
        assert ended.outcome.value == {"value": 12.0}
    else:
        assert ended.outcome.value is None
        assert "model.py was never executed; " in ended.outcome.reason
        assert f"{root}/model.py was, which is another file" in ended.outcome.reason


def test_an_installed_package_beside_the_checkout_is_found_out(make: Make, tmp_path: Path) -> None:
    installed = tmp_path / "site" / "pack"
    installed.mkdir(parents=True)
    (installed / "__init__.py").write_text(MODEL)
    script = f"import sys\nsys.path.insert(0, {str(installed.parent)!r})\nimport pack as model\n"
    repository = make(script, files={"pack/__init__.py": MODEL})
    ended = repository.run({"pack/__init__.py": "VALUE = 2\n"})
    assert ended.outcome.value is None
    assert "pack/__init__.py was never executed" in ended.outcome.reason
    assert f"{installed}/__init__.py was, which is another file" in ended.outcome.reason


def test_a_python_that_takes_no_hook_is_an_error(make: Make) -> None:
    script = "import os, sys\nsys.path.insert(0, os.path.dirname(__file__))\nimport model\n"
    ended = make(script, command="-I train.py {out}").run(EDITED)
    assert ended.outcome.value is None
    assert "no Python of the command took the start-up hook" in ended.outcome.reason


def test_a_command_that_fails_says_its_last_line_and_keeps_all(make: Make) -> None:
    ended = make("print('so far')\nraise SystemExit('no data at hand')\n").run()
    assert "ended with exit code 1: no data at hand" in ended.outcome.reason
    assert (ended.run / "stdout.txt").read_text() == "so far\n"


def test_a_sitecustomize_of_the_users_runs_too(make: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    own = "import builtins\nbuiltins.OWN = 30\n"
    repository = make("import model\nmodel.VALUE += OWN\n", files={"own/sitecustomize.py": own})
    monkeypatch.setenv("PYTHONPATH", str(repository.root / "own"), prepend=os.pathsep)
    with Server(workers=1, mechanisms=NONE, preload=()) as server:
        repository.server = server
        assert repository.run(EDITED).outcome.value == {"value": 42.0}


def test_a_module_of_the_users_is_not_hidden_by_ours(make: Make) -> None:
    files = {"notes.py": "FOUND = 1\n", "watch.py": "FOUND = 2\n"}
    script = "import model, notes, watch\nmodel.VALUE += notes.FOUND + watch.FOUND\n"
    assert make(script, files=files).run(EDITED).outcome.value == {"value": 15.0}


def test_files_of_this_package_and_of_the_store_are_none_that_a_run_read(
    make: Make, tmp_path: Path
) -> None:
    """A script that looks at its own frames opens the first; start values are of the second."""
    (tmp_path / "start.safetensors").touch()
    read = [tmp_path / "start.safetensors", Path(launch.__file__), tmp_path / "outside.txt"]
    (tmp_path / "outside.txt").touch()
    opens = "".join(f"open({str(path)!r}).close()\n" for path in read)
    ended = make(opens + SCRIPTS["plain import"]).run(starts=read[0])
    assert ended.outcome.failure is None, ended.outcome.reason
    assert [path for path, _ in ended.notes.opened if Path(path) in read] == [str(read[-1])]
