"""Scripts that write all over: the user's files stay byte for byte, in an overlay and in a copy."""

from __future__ import annotations

import os
import stat
from pathlib import Path

import pytest

from antifragile.ablate.command.overlay import can_mount
from antifragile.ablate.sandbox.limits import landlock
from antifragile.ablate.sandbox.server import Server
from antifragile.errors import UsageError
from tests.ablate.command.launching import Repository

FILES = {
    "model.py": "VALUE = 1\n",
    "kept/weights.bin": "0" * 5000,
    "kept/deep/notes.txt": "of the user's",
    "log.txt": "earlier\n",
}
LEAVE = """
(pathlib.Path(sys.argv[1]) / "m.json").write_text(json.dumps({"value": model.VALUE}))
"""
BEGIN = """
import contextlib, json, os, pathlib, shutil, subprocess, sys, tempfile
import model
ROOT = REPOSITORY
here = pathlib.Path(__file__).resolve().parent
"""
HERE = {  # writes in the run's own view: they work, and go with it
    "beside the script": "(here / 'model.py').write_text('')\n(here / 'new').mkdir()\n",
    "a folder is removed": "shutil.rmtree('kept')\nassert not os.path.exists('kept')\n",
    "another current folder": "os.chdir(here / 'kept')\nopen('weights.bin', 'w').write('x')\n"
    "shutil.move('deep', 'moved')\n",
    "an open file": "with open(here / 'log.txt', 'r+') as log:\n    log.write('mine')\n"
    "    log.truncate(2)\n",
    "a link": "os.symlink(here / 'kept', here / 'linked')\n"
    "(here / 'linked' / 'weights.bin').write_text('x')\n",
    "a link of the user's": "(here / 'short' / 'notes.txt').write_text('x')\n",
    "rights and times": "os.chmod(here / 'log.txt', 0)\nos.utime(here / 'kept', (1, 1))\n",
    "a process": "code = 'import os; os.remove(\"log.txt\")'\n"
    "subprocess.run([sys.executable, '-c', code], check=True)\n",
    "another program": "subprocess.run(['sh', '-c', 'rm -r kept; echo x > log.txt'], check=True)\n",
}
ABSOLUTE = {  # writes to where the user's files really lie
    "a file": "open(f'{ROOT}/log.txt', 'a').write('x')\n",
    "a new file": "open(f'{ROOT}/new.txt', 'w').write('x')\n",
    "a folder is removed": "shutil.rmtree(f'{ROOT}/kept')\n",
    "another current folder": "os.chdir(ROOT)\nos.remove('log.txt')\n",
    "a folder's descriptor": "place = os.open(ROOT, os.O_RDONLY)\n"
    "os.unlink('log.txt', dir_fd=place)\n",
    "a link": "os.symlink(ROOT, here / 'back')\nopen(here / 'back' / 'log.txt', 'w').write('x')\n",
    "moved over": "open('m.txt', 'w').write('x')\nos.replace('m.txt', f'{ROOT}/log.txt')\n",
    "rights": "os.chmod(f'{ROOT}/log.txt', 0o600)\n",
    "a process": 'code = f\'open("{ROOT}/log.txt", "w")\'\n'
    "subprocess.run([sys.executable, '-c', code], check=True)\n",
}
NATIVE = {
    "another program": "subprocess.run(['sh', '-c', f'echo x > {ROOT}/log.txt'], check=True)\n",
    "a Python without the hook": 'code = f\'open("{ROOT}/log.txt", "w")\'\n'
    "subprocess.run([sys.executable, '-I', '-c', code], check=True)\n",
    "another program removes": "subprocess.run(['rm', '-r', f'{ROOT}/kept'], check=True)\n",
}


@pytest.fixture(params=[True, False], ids=["overlay", "copy"])
def repository(request: pytest.FixtureRequest, server: Server, tmp_path: Path) -> Repository:
    """A repository with a link to a folder, whose runs use an overlay, or a copy."""
    root = tmp_path / "repo"
    root.mkdir()
    if request.param and not can_mount(str(root), tmp_path / "tried"):
        pytest.skip("this system lets no process mount an overlay: runs get a copy")
    (root / "short").symlink_to("kept/deep")
    return Repository(
        server=server, root=root, files=FILES, command="train.py {out}", mounts=request.param
    )


def seen(root: Path) -> dict[str, tuple[object, ...]]:
    """Kind, rights, time and content of all that lies below a folder, and of the folder."""
    return {
        str(path): (
            stat.filemode(path.lstat().st_mode),
            path.lstat().st_mtime_ns,
            os.readlink(path) if path.is_symlink() else path.read_bytes() if path.is_file() else "",
        )
        for path in [root, *sorted(root.rglob("*"))]
    }


def runs(repository: Repository, writes: str) -> tuple[object, str]:
    """Run a script that writes; its metrics, and what is wrong, once nothing has changed."""
    begin = BEGIN.replace("REPOSITORY", repr(str(repository.root)))
    (repository.root / "train.py").write_text(begin + writes + LEAVE)
    before = seen(repository.root)
    ended = repository.run({"model.py": "VALUE = 2\n"})
    assert seen(repository.root) == before
    said = ended.run / "stderr.txt"
    return ended.outcome.value, ended.outcome.reason + (said.read_text() if said.exists() else "")


def test_what_a_run_writes_goes_with_it(repository: Repository) -> None:
    for way, writes in HERE.items():
        assert runs(repository, writes) == ({"value": 2.0}, ""), way


def test_no_absolute_path_leads_to_the_users_files(repository: Repository) -> None:
    for way, writes in ABSOLUTE.items():
        value, reason = runs(repository, writes)
        if repository.mounts:
            assert (value, reason) == ({"value": 2.0}, ""), way
        else:
            assert value is None, way
            assert "PermissionError: [Errno 13] a run may write in the copy of your files" in reason


def test_no_program_writes_to_the_users_files(repository: Repository) -> None:
    if not repository.mounts and landlock.version() < landlock.KEEPS_FILES:
        pytest.skip("this kernel has neither overlays nor Landlock for its users")
    for way, writes in NATIVE.items():
        value, reason = runs(repository, writes)
        if repository.mounts:
            assert (value, reason) == ({"value": 2.0}, ""), way
        else:
            assert value is None, way
            assert "ermission denied" in reason, way


def test_a_run_in_a_copy_writes_elsewhere_as_it_likes(
    repository: Repository, tmp_path: Path
) -> None:
    place = tmp_path / "elsewhere"
    place.mkdir()
    writes = f"open({str(place / 'x')!r}, 'w').write('x')\ntempfile.mkdtemp()\n"
    assert runs(repository, writes) == ({"value": 2.0}, "")
    assert (place / "x").read_text() == "x"


def test_the_output_may_lie_inside_the_repository(repository: Repository) -> None:
    repository.beside = repository.root / "runs.db.files"
    (repository.root / "train.py").write_text("import json, pathlib, sys, model\n" + LEAVE)
    ended = repository.run({"model.py": "VALUE = 2\n"})
    assert ended.outcome.value == {"value": 2.0}, ended.outcome.reason
    assert (ended.run / "out" / "m.json").is_file()
    assert not list(ended.scratch.rglob("runs.db.files"))  # which would grow with every run


def test_a_metric_by_its_absolute_path_is_the_runs_own(repository: Repository) -> None:
    repository.metric = f"json:{repository.root}/old.json:value"
    (repository.root / "old.json").write_text('{"value": 7}')
    write = "(here / 'old.json').write_text(json.dumps({'value': 10 * model.VALUE}))\n"
    assert runs(repository, write) == ({"value": 20.0}, "")


def test_temporary_files_in_the_repository_are_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"temporary files lie in .*; set TMPDIR to a folder"):
        can_mount(str(tmp_path), tmp_path / "tmp" / "scratch")
