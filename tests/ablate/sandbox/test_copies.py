"""A copy holds a model's files and the data beside them, up to a size, and nothing else."""

from __future__ import annotations

from pathlib import Path

import pytest

from antifragile.ablate.sandbox import copies
from antifragile.ablate.sandbox.confinement import kernel_confines
from antifragile.ablate.sandbox.copies import fill, open_copies


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A repository with a model two folders down."""
    folder = tmp_path / "root"
    (folder / "src" / "data").mkdir(parents=True)
    for name in ("src/model.py", "src/vocab.txt", "src/data/more.txt", "top.txt"):
        (folder / name).write_text(name)
    return folder


def files(folder: Path) -> set[str]:
    return {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}


def taken(root: Path) -> tuple[set[str], str]:
    """The files of a copy, and the sentence about it."""
    with open_copies(root, ["src/model.py"]) as found:
        place = found.new_place()
        fill(place, [str(found.original)])
        return files(place), found.note


def test_all_below_the_root_is_copied(root: Path) -> None:
    everything = {"src/model.py", "src/vocab.txt", "src/data/more.txt", "top.txt"}
    assert taken(root) == (everything, "")


@pytest.mark.parametrize(
    "name",
    [
        ".git/x",
        "src/__pycache__/x.pyc",
        "env/pyvenv.cfg",
        "env/lib/x.py",
        "variants/ablations.json",
    ],
)
def test_what_is_none_of_the_models_is_left_out(root: Path, name: str) -> None:
    for mark in ("env/pyvenv.cfg", name):
        (root / mark).parent.mkdir(parents=True, exist_ok=True)
        (root / mark).write_text("x")
    assert name not in taken(root)[0]


def test_of_a_large_tree_the_files_beside_the_model_are_copied(
    root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(copies, "MOST_FILES", 3)
    found, note = taken(root)
    assert found == {"src/model.py", "src/vocab.txt"}
    assert note == (
        "only the files beside the model's are copied for its runs: "
        f"{root} holds more than 3 files or 64 MiB."
    )


def test_of_a_large_folder_the_model_alone_is_copied(
    root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(copies, "MOST_BYTES", 5)
    found, note = taken(root)
    assert found == {"src/model.py"}
    assert note.startswith("no data file is copied for the model's runs: ")


def test_a_large_tree_is_not_walked_to_its_end(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(copies, "_MOST_ENTRIES", 10)
    for number in range(20):
        (root / f".skipped-{number}").mkdir()
    assert taken(root)[0] == {"src/model.py", "src/vocab.txt"}


@pytest.mark.skipif(not kernel_confines(), reason="this system copies large files as well")
def test_a_large_data_file_is_a_link(root: Path) -> None:
    (root / "weights.bin").write_bytes(b"x" * 2**20)
    (root / "large.py").write_bytes(b"#" * 2**20)
    with open_copies(root, ["src/model.py"]) as found:
        place = found.new_place()
        fill(place, [str(found.original)])
        assert (place / "weights.bin").readlink() == root / "weights.bin"
        assert not (place / "large.py").is_symlink()


def test_a_variant_lies_over_the_project(root: Path, tmp_path: Path) -> None:
    (tmp_path / "variant" / "src").mkdir(parents=True)
    (tmp_path / "variant" / "src" / "model.py").write_text("changed")
    (root / "src" / "model.py").chmod(0o444)
    with open_copies(root, ["src/model.py"]) as found:
        place = found.new_place()
        fill(place, [str(found.original), str(tmp_path / "variant")])
        assert (place / "src" / "model.py").read_text() == "changed"
        assert (place / "src" / "vocab.txt").read_text() == "src/vocab.txt"


def test_links_to_nothing_and_pipes_are_left_out(root: Path) -> None:
    import os

    (root / "nowhere").symlink_to("missing")
    os.mkfifo(root / "pipe")
    (root / "near").symlink_to(root / "src" / "data")
    with open_copies(root, ["src/model.py"]) as found:
        assert not (found.original / "nowhere").is_symlink()
        assert not (found.original / "pipe").exists()
        assert (found.original / "near" / "more.txt").read_text() == "src/data/more.txt"
