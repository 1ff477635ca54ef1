"""Discovery, generation and studies change nothing of the user's, whatever is tried, and say so."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from antifragile.ablate.certify.certificate import ModelError, open_server
from antifragile.ablate.pipeline import find_components, make_ablations
from antifragile.ablate.records import AblationKind
from antifragile.ablate.sandbox.confinement import kernel_confines
from antifragile.ablate.sandbox.job import Limits
from antifragile.ablate.sandbox.server import Server
from antifragile.ablate.source.project import load_project
from antifragile.ablate.study.experiment import Experiment
from antifragile.ablate.study.folder import read_ablation_folder
from antifragile.ablate.study.request import AblationRequest
from antifragile.ablate.study.server import StudyProcesses
from antifragile.ablate.study.study import AblationOutcome, run_ablation
from antifragile.store.ablation import AblationStore

MODEL = """
import atexit, ctypes, os, pathlib, py_compile, shutil, socket, sqlite3, subprocess, threading, time
import numpy
import torch
from torch import nn

HERE = pathlib.Path(__file__).resolve().parent
TREE = {tree!r}  # the real one
HOME = pathlib.Path.home()


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.a, self.b = nn.Linear(40, 4), nn.Linear(4, 2)

    def forward(self, x):
        return self.b(torch.relu(self.a(x)))


{code}


def build():
    return Net()


def inputs():
    return (torch.randn(3, 40),)
"""
IN_COPY = {  # code, and the path that is told
    "open(__file__, 'a').write('# spoiled')": "model.py",
    "(HERE / 'log.txt').open('a').write('x')": "log.txt",
    "open('other-log.txt', 'w').write('x')": "other-log.txt",
    "os.remove(HERE / 'a.txt')": "a.txt",
    "shutil.rmtree(HERE / 'b')": "b/b.txt",
    "os.rename('c.txt', 'moved.txt')": "moved.txt",
    "os.chmod(HERE / 'd.txt', 0o600)": "d.txt",
    "os.replace(HERE / 'i.txt', 'log.txt')": "i.txt",
    "sqlite3.connect('log.db').execute('create table t (x)')": "log.db",
    "numpy.memmap(HERE / 'j.txt', dtype='u1', mode='r+')[:] = 0": "j.txt",
}
OUTSIDE = {  # code, and the path below the tree that is told
    "open(TREE + '/model.py', 'a').write('# spoiled')": "model.py",
    "os.open(TREE + '/a.txt', os.O_RDWR)": "a.txt",
    "shutil.rmtree(TREE + '/b')": "b/b.txt",
    "os.rename(TREE + '/c.txt', TREE + '/moved.txt')": "c.txt",
    "os.chmod(TREE + '/d.txt', 0o600)": "d.txt",
    "os.utime(TREE + '/e.txt', (1, 1))": "e.txt",
    "os.remove(TREE + '/f.txt')": "f.txt",
    "os.mkdir(TREE + '/made')": "made",
    "os.symlink('x', TREE + '/linked')": "linked",
    "os.symlink(TREE, 'way'); open('way/g.txt', 'w')": "g.txt",
    "os.fchmod(os.open(TREE + '/h.txt', os.O_RDONLY), 0o600)": "h.txt",
    "os.replace(TREE + '/i.txt', TREE + '/a.txt')": "i.txt",
    "sqlite3.connect(TREE + '/log.db').execute('create table t (x)')": "log.db",
    "numpy.memmap(TREE + '/j.txt', dtype='u1', mode='r+')[:] = 0": "j.txt",
    "os.chown(TREE + '/k.txt', os.getuid(), os.getgid())": "k.txt",
    "os.truncate(TREE + '/l.txt', 0)": "l.txt",
    "os.link(TREE + '/m.txt', 'hard.txt'); open('hard.txt', 'w').write('x')": "m.txt",
    "open('/proc/self/root' + TREE + '/n.txt', 'w')": "n.txt",
}
SILENT = [  # tries in places of the model's own, and one for a time that never comes
    "p = HOME / '.cache/x'; p.mkdir(parents=True); (p / 'y').touch()",
    "atexit.register(lambda: open(TREE + '/log.txt', 'w').write('x'))",
    "py_compile.compile(__file__)",
    "torch.save(torch.zeros(1), 'weights.pt')",
    "threading.Thread(target=lambda: (time.sleep(0.05), open(TREE + '/late.txt', 'w'))).start()",
]
NATIVE = [  # tries that only the kernel sees
    "subprocess.run(['touch', TREE + '/log.txt'], check=False)",
    "subprocess.run(['rm', TREE + '/a.txt'], check=False)",
    "ctypes.CDLL(None).creat((TREE + '/log.txt').encode(), 0o644)",
    "torch.save(torch.zeros(1), TREE + '/weights.pt')",
    "os.mkfifo(TREE + '/queue')",
    "socket.socket(socket.AF_UNIX).bind(TREE + '/socket')",
    "torch.from_file('large.bin', shared=True, size=9).zero_()",  # a link to the user's
]


READS = [
    "assert (HERE / 'a.txt').read_text() == 'a'",
    "assert open('b/b.txt').read() == 'b/b'",
]
EXPERIMENT = """

def run(build_model, seed, data_order_seed):
    open("best.pt", "wb").write(b"x")
    with torch.no_grad():
        return {"loss": build_model()(torch.ones(1, 40)).square().sum()}
"""


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A home of the user's own."""
    folder = tmp_path_factory.mktemp("home")
    (folder / ".cache").mkdir()
    (folder / ".bashrc").write_text("x")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("HOME", str(folder))
        patch.delenv("XDG_CACHE_HOME", raising=False)
        yield folder


@pytest.fixture(scope="module")
def server(home: Path) -> Iterator[Server]:
    with open_server(workers=2, limits=Limits(timeout_s=60)) as running:
        yield running


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """A repository with data beside the model."""
    folder = tmp_path / "tree"
    (folder / "b").mkdir(parents=True)
    for name in (*"acdefghijklmn", "b/b"):
        (folder / f"{name}.txt").write_text(name)
    (folder / "large.bin").write_bytes(b"x" * 2**20)
    return folder


def stamps(*folders: Path) -> dict[Path, tuple[int, int, bytes]]:
    """Modes, times and contents of everything below some folders."""
    paths = [path for folder in folders for path in (folder, *folder.rglob("*"))]
    return {path: stamp(path) for path in paths}


def stamp(path: Path) -> tuple[int, int, bytes]:
    status = path.lstat()
    return status.st_mode, status.st_mtime_ns, path.read_bytes() if path.is_file() else b""


def written(tree: Path, *lines: str) -> Path:
    path = tree / "model.py"
    path.write_text(MODEL.format(tree=str(tree), code="\n".join(lines)))
    return path


def trying(lines: list[str]) -> list[str]:
    """Each line for itself, whatever comes of the others."""
    return [
        f"try:\n    {line}\nexcept Exception as error:\n    print({line!r}, error)"
        for line in lines
    ]


def discover(server: Server, path: Path) -> None:
    find_components(load_project([path], f"{path}:build", f"{path}:inputs"), server=server)


def generate(server: Server, path: Path, out: Path) -> list[str]:
    """Certify some variants; return the verdicts."""
    plan = find_components(load_project([path], f"{path}:build", f"{path}:inputs"), server=server)
    made = make_ablations(plan, out, server=server, kinds=[AblationKind.IDENTITY])
    return [certificate.verdict for certificate in made.certificates]


def test_the_tree_and_the_home_stay_as_they_are_and_each_try_is_told(
    tree: Path, home: Path, server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The model reads what lies beside it, and tries all that it can think of."""
    monkeypatch.chdir(tree)
    tries = trying([*IN_COPY, *OUTSIDE, *SILENT, *(NATIVE if kernel_confines() else [])])
    path = written(tree, *READS, *tries)
    before = stamps(tree, home)
    assert "certified" in generate(server, path, tmp_path / "out")
    assert stamps(tree, home) == before
    assert {item.name for item in tmp_path.iterdir()} == {"tree", "out"}
    assert [*tmp_path.rglob("__pycache__")] == []
    for place in IN_COPY.values():
        assert told_of_copy(place) in server.notes
    for place in OUTSIDE.values():
        where = f"{tree / place}, outside its copy, and was not let."
        assert f"the model tried to write to {where}" in server.notes


def told_of_copy(place: str) -> str:
    return f"the model wrote to {place} in its copy; your own files are as they were."


def test_training_writes_where_it_is_told_to_and_not_beside_the_model(
    tree: Path, home: Path, server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An experiment is not confined: paths of its own are its own, relative ones of the copy."""
    monkeypatch.chdir(tree)
    path = written(tree, *READS)
    in_copy = {line: place for line, place in IN_COPY.items() if "HERE" not in line}
    in_copy = {line.replace("__file__", "'model.py'"): in_copy[line] for line in in_copy}
    tries = trying([*in_copy, "open('large.bin', 'r+b').write(b'spoiled')"])
    kept = tmp_path / "kept.txt"
    tries += [f"pathlib.Path({str(kept)!r}).write_text('kept')", "(HOME / 'kept.txt').touch()"]
    lines = [path.read_text().partition("class Net")[0], *tries, EXPERIMENT]
    (tree / "experiment.py").write_text("\n".join(lines))
    before = stamps(tree)
    assert "certified" in generate(server, path, tmp_path / "out")
    generated = stamps(tmp_path / "out" / "baseline")
    outcome = studied(tmp_path / "out", tree / "experiment.py")
    assert (outcome.n_run, outcome.n_failed) == (4, 0)
    assert stamps(tree) == before
    assert stamps(tmp_path / "out" / "baseline") == generated
    assert (kept.read_text(), (home / "kept.txt").exists()) == ("kept", True)
    assert {item.name for item in tmp_path.iterdir()} == {"tree", "out", "study.db", "kept.txt"}
    for place in in_copy.values():
        assert told_of_copy(place) in outcome.notes


def studied(out: Path, experiment: Path) -> AblationOutcome:
    """A study of one certified variant under one seed."""
    folder = read_ablation_folder(out)
    request = AblationRequest(
        name="made",
        experiment=Experiment.from_file(f"{experiment}:run"),
        arms=[folder.arms[0].name],
        seeds=(1,),
    )
    with AblationStore(str(out.parent / "study.db")) as store:
        return run_ablation(request, folder, store, processes=StudyProcesses(workers=2))


def test_a_try_that_the_model_did_not_expect_to_fail_ends_it(tree: Path, server: Server) -> None:
    path = written(tree, "open(TREE + '/x', 'w')")
    with pytest.raises(ModelError) as caught:
        discover(server, path)
    assert str(caught.value) == (
        "the model does not run: importing model.py raised PermissionError: [Errno 13] a model may "
        f"write only in the copy of its files: '{tree}/x' (model.py, line 21)."
    )


def test_a_model_that_writes_nothing_has_no_notes(tree: Path, home: Path) -> None:
    with open_server() as quiet:
        discover(quiet, written(tree))
        assert quiet.notes == []


def test_data_beside_the_model_is_there_in_every_run(
    tree: Path, server: Server, tmp_path: Path
) -> None:
    assert set(generate(server, written(tree, *READS), tmp_path / "out")) == {"certified"}


def test_a_run_does_not_find_what_another_left(tree: Path, server: Server, tmp_path: Path) -> None:
    places = ["HOME / 'seen'", "HERE / 'seen'", "pathlib.Path(os.environ['TMPDIR'], 'seen')"]
    marks = [f"({place}).open('x')" for place in places]
    assert set(generate(server, written(tree, *marks), tmp_path / "out")) == {"certified"}


@pytest.mark.skipif(not kernel_confines(), reason="this system cannot hold back signals")
def test_a_model_cannot_stop_the_server(tree: Path, server: Server) -> None:
    path = written(tree, "import signal", "os.kill(os.getppid(), signal.SIGSTOP)")
    with pytest.raises(ModelError, match=r"PermissionError: .*Operation not permitted"):
        discover(server, path)


def test_an_argument_parser_sees_the_file_alone(tree: Path, server: Server) -> None:
    parser = ["import argparse, sys", "parser = argparse.ArgumentParser()"]
    discover(server, written(tree, *parser, "parser.parse_args()", "assert len(sys.argv) == 1"))
    asks = [*parser, "parser.add_argument('--width', required=True)", "parser.parse_args()"]
    with pytest.raises(ModelError) as caught:
        discover(server, written(tree, *asks))
    assert str(caught.value) == (
        "the model does not run: importing model.py called sys.exit(2) after it said 'model.py: "
        "error: the following arguments are required: --width'."
    )
