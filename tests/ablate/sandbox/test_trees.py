"""Trees of any depth and mode are measured and removed; what links lead to is not touched."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from antifragile.ablate.sandbox.limits.trees import _sweep, bytes_below, remove_tree, scratch_folder

MIB = 2**20


@pytest.fixture
def tree(tmp_path: Path) -> Iterator[Path]:
    folder = tmp_path / "tree"
    folder.mkdir()
    yield folder
    remove_tree(folder)


def nest(folder: Path, name: str, depth: int) -> int:
    """Make folders in folders; an open descriptor of the innermost."""
    place = os.open(folder, os.O_RDONLY)
    for _ in range(depth):
        os.mkdir(name, dir_fd=place)
        inner = os.open(name, os.O_RDONLY, dir_fd=place)
        os.close(place)
        place = inner
    return place


@pytest.mark.parametrize(("name", "depth"), [("d", 3000), ("d" * 250, 40)])
def test_a_tree_of_any_depth_is_removed(tree: Path, name: str, depth: int) -> None:
    os.close(nest(tree, name, depth))
    remove_tree(tree)
    assert not tree.exists()


def test_a_deep_tree_is_measured(tree: Path) -> None:
    place = nest(tree, "d", 1500)
    file = os.open("file", os.O_CREAT | os.O_WRONLY, dir_fd=place)
    os.posix_fallocate(file, 0, MIB)
    assert MIB <= bytes_below([str(tree)], 64 * MIB) < 32 * MIB


def test_what_lies_deeper_than_a_path_can_say_is_too_much(tree: Path) -> None:
    os.close(nest(tree, "d" * 250, 20))
    assert bytes_below([str(tree)], 64 * MIB) > 64 * MIB


def test_links_are_removed_and_not_followed(tree: Path, tmp_path: Path) -> None:
    kept = tmp_path / "kept"
    kept.mkdir(mode=0o500)
    (tree / "inner").mkdir()
    for link in (tree / "link", tree / "inner" / "link"):
        link.symlink_to(kept)
    assert bytes_below([str(tree)], MIB) < MIB
    remove_tree(tree)
    assert not tree.exists()
    assert kept.stat().st_mode & 0o777 == 0o500


def test_what_is_no_folder_or_not_there_is_let_be(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    for name in ("file", "nothing"):
        remove_tree(tmp_path / name)
        assert bytes_below([str(tmp_path / name)], MIB) == 0
    assert (tmp_path / "file").exists()


CLOSED = """
import os, sys
from antifragile.ablate.sandbox.limits.trees import _sweep, bytes_below, remove_tree, scratch_folder
if os.geteuid() == 0:
    os.setgroups([])
    os.setgid(65534)
    os.setuid(65534)
os.chdir(sys.argv[1])
for mode in (0o000, 0o300, 0o400, 0o500):
    os.makedirs(f"tree/{mode}/inner/more")
    with open(f"tree/{mode}/inner/file", "wb") as file:
        os.posix_fallocate(file.fileno(), 0, 2**20)
    os.chmod(f"tree/{mode}/inner", mode)
    os.chmod(f"tree/{mode}", mode)
print(bytes_below(["tree"], 2**30) // 2**20)
remove_tree("tree")
print(os.path.exists("tree"))
"""


def test_closed_folders_are_measured_and_removed_by_an_ordinary_user() -> None:
    with subprocess.Popen(["mktemp", "-d"], stdout=subprocess.PIPE, text=True) as made:
        place = Path(str(made.stdout and made.stdout.read()).strip())
    place.chmod(0o777)
    command = [sys.executable, "-c", CLOSED, str(place)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["4", "False"]
    place.rmdir()


def test_folders_of_killed_processes_are_removed_and_those_of_others_stay(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    left, new, other = (tmp_path / name for name in ("try-left", "try-new", "other-left"))
    for folder in (left, new, other):
        (folder / "deep").mkdir(parents=True)
    with scratch_folder("try-") as held:
        for folder in (left, other, held):
            os.utime(folder, (0, 0))
        _sweep.cache_clear()
        with scratch_folder("try-") as second:
            assert set(tmp_path.iterdir()) == {new, other, held, second}
    assert sorted(tmp_path.iterdir()) == [other, new]
