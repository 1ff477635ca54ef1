"""A new set of variants replaces the old one whole, and nothing else, wherever it is stopped."""

from __future__ import annotations

import errno
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from antifragile.ablate.generation import replace
from antifragile.ablate.generation.digests import digests_of_all
from antifragile.ablate.generation.locks import WORK, locked
from antifragile.ablate.generation.replace import check_is_ours, check_names_free, new_set
from antifragile.ablate.study.folder import read_ablation_folder
from antifragile.errors import StoreError, UsageError, WorldError
from tests.ablate.study.small_study import CUTS, MODEL, make_folder
from tests.cli.commands import contents

GATE, TANH = "model-gate--identity", "model-tanh--identity"
KEPT = {GATE: CUTS[GATE], TANH: CUTS[TANH]}
OTHER = {"model-extra--identity": CUTS["model-extra--identity"], TANH: CUTS[TANH]}


def made(folder: Path, model: str, cuts: dict[str, tuple[str, str]]) -> Path:
    """A set somewhere else, whose index says what was written."""
    out = make_folder(folder, model=model, cuts=cuts)
    plain = json.loads((out / "ablations.json").read_text())
    plain["written"] = {path.name: digests_of_all(path) for path in out.iterdir() if path.is_dir()}
    (out / "ablations.json").write_text(json.dumps(plain))
    return out


@pytest.fixture
def sets(tmp_path: Path) -> tuple[Path, Path]:
    """Two sets: of one model, and of another with a variant more and one less."""
    return (
        made(tmp_path / "one", MODEL, KEPT),
        made(tmp_path / "two", MODEL.replace("0.5)", "0.25)"), OTHER),
    )


@pytest.fixture
def out(tmp_path: Path, sets: tuple[Path, Path]) -> Path:
    """A folder with the first set, and work of the user's in it."""
    out = tmp_path / "out"
    put(sets[0], out)
    (out / "mynotes").mkdir()
    (out / "mynotes" / "x.txt").write_text("keep")
    (out / "ablation.db").write_bytes(b"results")
    return out


def put(made_set: Path, out: Path) -> None:
    """Replace what is in `out` by a copy of a set."""
    with new_set(out) as place:
        shutil.copytree(made_set, place, dirs_exist_ok=True)


def of_set(out: Path) -> dict[str, bytes | None]:
    """All that is in a folder but the user's and our hidden folder."""
    hidden = (WORK, "mynotes", "ablation.db")
    return {name: data for name, data in contents(out).items() if not name.startswith(hidden)}


def test_the_set_is_replaced_and_nothing_else(out: Path, sets: tuple[Path, Path]) -> None:
    users = [out, out / "mynotes", out / "mynotes" / "x.txt", out / "ablation.db"]
    before = [(path.stat().st_ino, path.stat().st_mtime_ns) for path in users[1:]]
    assert of_set(out) == contents(sets[0])
    place = out.stat().st_ino
    put(sets[1], out)
    assert of_set(out) == contents(sets[1])
    assert [(path.stat().st_ino, path.stat().st_mtime_ns) for path in users[1:]] == before
    assert out.stat().st_ino == place
    assert [path.name for path in (out / WORK).iterdir()] == ["generate.lock"]
    assert read_ablation_folder(out).arm(TANH)


def edit(out: Path) -> Path:
    path = out / GATE / "model.py"
    path.write_text(path.read_text() + "# mine\n")
    return path


def describe(out: Path) -> Path:
    path = out / GATE / "change.diff"
    path.write_text("mine\n")
    return path


def add(out: Path) -> Path:
    path = out / GATE / "notes" / "x.txt"
    path.parent.mkdir()
    path.write_text("mine")
    return path


def edit_baseline(out: Path) -> Path:
    path = out / "baseline" / "model.py"
    path.write_text("mine")
    return path


def link(out: Path) -> Path:
    path = out / GATE
    path.rename(out / "mine")
    path.symlink_to(out / "mine")
    return path


def add_pipe(out: Path) -> Path:
    path = out / GATE / "notes"
    os.mkfifo(path)
    return path


@pytest.mark.parametrize("change", [edit, describe, add, edit_baseline, link, add_pipe])
def test_work_in_a_variant_is_refused_by_name_before_any_work(
    out: Path, sets: tuple[Path, Path], change: Callable[[Path], Path]
) -> None:
    path = change(out)
    before = contents(out)
    for attempt in (lambda: check_is_ours(out), lambda: put(sets[1], out)):
        with pytest.raises(UsageError) as caught:
            attempt()
        assert caught.value.exit_code == 2
        assert str(caught.value).startswith(f"{path} was changed or added after its folder was")
        assert contents(out) == before


def test_what_python_compiled_and_what_was_deleted_is_no_work(
    out: Path, sets: tuple[Path, Path]
) -> None:
    (out / GATE / "__pycache__").mkdir()
    (out / GATE / "__pycache__" / "model.cpython-311.pyc").write_bytes(b"")
    shutil.rmtree(out / TANH)
    put(sets[1], out)
    assert of_set(out) == contents(sets[1])


def test_a_set_of_an_older_version_is_replaced_and_its_edits_are_refused(
    out: Path, sets: tuple[Path, Path]
) -> None:
    plain = json.loads((out / "ablations.json").read_text())
    del plain["written"]
    (out / "ablations.json").write_text(json.dumps(plain))
    check_is_ours(out)
    (out / GATE / "more.txt").write_text("mine")
    with pytest.raises(UsageError, match=r"more\.txt was changed or added"):
        check_is_ours(out)
    (out / GATE / "more.txt").unlink()
    put(sets[1], out)
    assert of_set(out) == contents(sets[1])


@pytest.mark.parametrize("is_folder", [True, False])
def test_a_name_that_is_taken_is_refused_by_name(
    out: Path, sets: tuple[Path, Path], *, is_folder: bool
) -> None:
    taken = out / "model-extra--identity"
    if is_folder:
        taken.mkdir()
    else:
        taken.symlink_to(out / "mynotes")
    before = contents(out)
    sentence = f"{taken} is in the way of a variant's folder and was not made by 'ablate generate'"
    with pytest.raises(UsageError, match=sentence):
        check_names_free(out, ["baseline", "model-extra--identity"])
    with pytest.raises(UsageError, match=sentence):
        put(sets[1], out)
    assert contents(out) == before
    check_names_free(out, ["baseline", GATE])


def test_what_a_killed_run_of_an_older_version_left_is_not_taken_for_ours(
    out: Path, sets: tuple[Path, Path]
) -> None:
    (out / "ablations.json").write_text("{}\n")
    before = contents(out)
    with pytest.raises(UsageError, match="baseline is in the way"):
        put(sets[1], out)
    assert contents(out) == before


def test_an_index_that_leads_elsewhere_removes_nothing(
    out: Path, sets: tuple[Path, Path], tmp_path: Path
) -> None:
    (tmp_path / "thesis").mkdir()
    (tmp_path / "thesis" / "all.tex").write_text("years")
    for name in ("../thesis", str(tmp_path / "thesis"), "mynotes/../../thesis", "combinations"):
        text = (sets[0] / "ablations.json").read_text()
        (out / "ablations.json").write_text(text.replace(f'"{GATE}"', json.dumps(name)))
        with pytest.raises(UsageError, match="is in the way"):
            put(sets[1], out)
    assert (tmp_path / "thesis" / "all.tex").read_text() == "years"
    assert (out / GATE).is_dir()


def fail_in(out: Path, error: BaseException) -> None:
    with new_set(out) as place:
        (place / "baseline").mkdir()
        raise error


@pytest.mark.parametrize("error", [RuntimeError("no"), KeyboardInterrupt()])
def test_a_set_that_is_not_finished_leaves_the_old_one(out: Path, error: BaseException) -> None:
    before = contents(out)
    with pytest.raises(type(error)):
        fail_in(out, error)
    assert contents(out) == before


def test_a_full_disk_is_one_sentence_and_leaves_the_old_set(out: Path) -> None:
    before = contents(out)
    with pytest.raises(WorldError) as caught:
        fail_in(out, OSError(errno.ENOSPC, os.strerror(errno.ENOSPC)))
    assert str(caught.value).startswith(f"cannot write to {out}: No space left on device; free")
    assert contents(out) == before


def test_an_error_of_another_folder_is_not_said_of_this_one(out: Path) -> None:
    with pytest.raises(FileNotFoundError), new_set(out):
        Path("/nowhere/at/all").read_text()


def test_a_second_writer_is_refused(out: Path, sets: tuple[Path, Path]) -> None:
    with new_set(out) as place:
        shutil.copytree(sets[1], place, dirs_exist_ok=True)
        for attempt in (lambda: check_is_ours(out), lambda: put(sets[0], out)):
            with pytest.raises(StoreError, match="another 'ablate generate' is writing to"):
                attempt()
        assert read_ablation_folder(out).arm(GATE)  # a reader sees the old set meanwhile
    assert of_set(out) == contents(sets[1])


def test_what_is_edited_while_a_set_is_made_is_kept(
    out: Path, sets: tuple[Path, Path], caplog: pytest.LogCaptureFixture
) -> None:
    with new_set(out) as place:
        shutil.copytree(sets[1], place, dirs_exist_ok=True)
        edit(out)
    kept = out / f"{GATE}-kept-1"
    assert (kept / "model.py").read_text().endswith("# mine\n")
    assert f"kept as {kept}" in caplog.text
    shutil.rmtree(kept)
    assert of_set(out) == contents(sets[1])


CHANGES = ("open", "mkdir", "replace", "unlink", "rmdir")


def killed_at(step: int, action: Callable[[], None]) -> bool:
    """Do something in a process that dies before its nth change of a file; say whether it died."""
    child = os.fork()
    if child == 0:
        done = 0

        def counted(real: Callable[..., object]) -> Callable[..., object]:
            def change(*arguments: object, **options: object) -> object:
                nonlocal done
                done += 1
                if done > step:
                    os.kill(os.getpid(), signal.SIGKILL)
                return real(*arguments, **options)

            return change

        for name in CHANGES:
            setattr(os, name, counted(getattr(os, name)))
        try:
            action()
        finally:
            os._exit(0)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == -signal.SIGKILL


def test_killed_at_any_step_the_old_set_or_the_new_one_is_there(
    out: Path, sets: tuple[Path, Path], tmp_path: Path
) -> None:
    first, second = (contents(path) for path in sets)
    users = {name: data for name, data in contents(out).items() if name.startswith("my")}
    seen, step, died = [], 0, True
    while died:
        copy = tmp_path / f"copy-{step}"
        shutil.copytree(out, copy)
        died = killed_at(step, lambda copy=copy: put(sets[1], copy))
        read_ablation_folder(copy)
        found = of_set(copy)
        assert found in (first, second), step
        seen.append(found == second)
        assert users == {n: data for n, data in contents(copy).items() if n.startswith("my")}
        put(sets[1], copy)
        assert of_set(copy) == second
        assert [path.name for path in (copy / WORK).iterdir()] == ["generate.lock"]
        shutil.rmtree(copy)
        step += 1
    assert step > 40
    assert seen == sorted(seen)  # new once, new for good
    assert seen.count(True) > 20


def test_the_end_of_a_killed_replacement_may_be_killed_too(
    out: Path, sets: tuple[Path, Path], tmp_path: Path
) -> None:
    second, rng = contents(sets[1]), random.Random(5)
    step = 0
    while killed_at(step, lambda: put(sets[1], out)) and not (out / WORK / "ready").exists():
        step += 1
    for number in range(20):
        copy = tmp_path / f"copy-{number}"
        shutil.copytree(out, copy)
        for _ in range(4):
            killed_at(rng.randrange(30), lambda copy=copy: replace.finish_replacement(copy))
        read_ablation_folder(copy)
        assert of_set(copy) == second


def test_a_killed_first_set_is_no_obstacle(sets: tuple[Path, Path], tmp_path: Path) -> None:
    step, died = 0, True
    while died:
        fresh = tmp_path / f"fresh-{step}"
        died = killed_at(step, lambda fresh=fresh: put(sets[0], fresh))
        put(sets[1], fresh)
        assert of_set(fresh) == contents(sets[1])
        step += 5


WRITER = """\
import itertools, shutil, sys
from pathlib import Path
from antifragile.ablate.generation.replace import new_set
out, *sets = map(Path, sys.argv[1:])
print("ready", flush=True)
for made in itertools.cycle(sets):
    with new_set(out) as place:
        shutil.copytree(made, place, dirs_exist_ok=True)
"""


def test_a_reader_sees_old_or_new_while_writers_work_and_are_killed(
    out: Path, sets: tuple[Path, Path]
) -> None:
    whole = [read_ablation_folder(path).digests for path in sets]
    rng, n_read, seen = random.Random(3), 0, set[int]()
    for _ in range(6):
        command = [sys.executable, "-c", WRITER, str(out), *map(str, sets)]
        with subprocess.Popen(command, stdout=subprocess.PIPE) as writer:
            assert writer.stdout is not None
            writer.stdout.readline()
            until = time.monotonic() + rng.uniform(0.1, 0.5)
            enough = n_read + 4  # also where the machine is slow
            while time.monotonic() < until or n_read < enough:
                seen.add(whole.index(read_ablation_folder(out).digests))
                n_read += 1
            writer.kill()
        seen.add(whole.index(read_ablation_folder(out).digests))
    assert seen == {0, 1}
    assert n_read > 20
    assert (out / "mynotes" / "x.txt").read_text() == "keep"


def test_a_reader_says_that_a_folder_cannot_be_written(
    out: Path, sets: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    step = 0
    while killed_at(step, lambda: put(sets[1], out)) and not (out / WORK / "ready").exists():
        step += 1

    def read_only(*_: object, **__: object) -> None:
        raise OSError(errno.EROFS, os.strerror(errno.EROFS), str(out / "x"))

    monkeypatch.setattr(os, "replace", read_only)
    with pytest.raises(WorldError, match=r"cannot write to .*: Read-only file system; free"):
        read_ablation_folder(out)


def test_a_lock_is_waited_for_where_that_is_asked(
    out: Path, caplog: pytest.LogCaptureFixture
) -> None:
    code = (
        "import sys, time; from pathlib import Path\n"
        "from antifragile.ablate.generation.locks import locked\n"
        "with locked(Path(sys.argv[1]), 'run'):\n    print('held', flush=True)\n    time.sleep(2)"
    )
    with subprocess.Popen([sys.executable, "-c", code, str(out)], stdout=subprocess.PIPE) as other:
        assert other.stdout is not None
        other.stdout.readline()
        with pytest.raises(StoreError, match="another 'ablate run' is writing"), locked(out, "run"):
            pass
        with locked(out, "run", is_waiting=True):
            assert "Another 'ablate run' is writing to" in caplog.text
