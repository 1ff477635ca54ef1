"""The architecture holds: data flows one way, rooms are small, a word means one thing."""

from __future__ import annotations

import ast
import re
from collections import Counter, defaultdict
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.imports import (
    ROOT,
    circle_in,
    import_graph,
    imported_names,
    module_name,
    rooms_of,
    source_files,
)

STAGES = {
    "errors": 0,
    "_optional": 0,
    "_files": 0,
    "_data_files": 0,
    "_lazy": 0,
    "_plugins": 0,
    "_records": 0,
    "_shown": 0,
    "_fitted": 0,
    "config": 1,
    "data": 2,
    "model": 3,
    "optim": 4,
    "engine": 5,
    "fleet": 6,
    "store": 7,
    "study": 8,
    "analysis": 9,
    "ablate": 10,
    "report": 11,
    "integrations": 11,
    "cli": 12,
    "__init__": 13,
    "__main__": 13,
}
MOST_FILES, MOST_LEVELS = 12, 3
# the names that users combine in their own code
REEXPORTS = ("antifragile", "antifragile.ablate", "antifragile.optim")
RIDDLE = re.compile(r"(What|Of|How)\b")
FOLDERS = sorted({path.parent for path in source_files()})


def name_of(folder: Path) -> str:
    return folder.relative_to(ROOT.parent).as_posix()


def test_every_module_has_a_stage() -> None:
    parts = {path.relative_to(ROOT).with_suffix("").parts[0] for path in source_files()}
    assert parts <= set(STAGES)


def test_imports_never_point_to_a_later_stage() -> None:
    wrong = [
        f"{path.relative_to(ROOT)} imports {name}"
        for path in source_files()
        for name in imported_names(path)
        if stage_of_import(name) > STAGES[path.relative_to(ROOT).with_suffix("").parts[0]]
    ]
    assert wrong == []


def test_config_does_without_torch() -> None:
    names = [name for path in (ROOT / "config").rglob("*.py") for name in imported_names(path)]
    assert not [name for name in names if name.split(".")[0] == "torch"]


def test_the_package_does_without_the_benchmarks() -> None:
    users = [
        p for p in source_files() if any(n.startswith("benchmarks") for n in imported_names(p))
    ]
    assert users == []


def test_no_circle_of_files() -> None:
    assert circle_in(import_graph()) == []


@pytest.mark.parametrize("folder", [folder for folder in FOLDERS if folder != ROOT], ids=name_of)
def test_no_circle_among_the_files_and_folders_of_a_folder(folder: Path) -> None:
    assert circle_in(rooms_of(folder, import_graph())) == []


@pytest.mark.parametrize("folder", FOLDERS, ids=name_of)
def test_a_folder_can_be_seen_at_one_look(folder: Path) -> None:
    compiled = {".so", ".pyd"}
    files = [path for path in folder.iterdir() if path.is_file() and path.suffix not in compiled]
    assert len(files) <= MOST_FILES
    assert len(folder.relative_to(ROOT).parts) <= MOST_LEVELS


@pytest.mark.parametrize("folder", FOLDERS, ids=name_of)
def test_a_prefix_shared_by_three_files_is_a_folder(folder: Path) -> None:
    stems = [path.stem for path in folder.glob("*.py") if not path.stem.startswith("_")]
    prefixes = Counter(stem.split("_")[0] for stem in stems)
    assert {prefix: n for prefix, n in prefixes.items() if n >= 3} == {}


def test_packages_do_not_pass_names_on() -> None:
    passing = [
        module_name(path)
        for path in source_files()
        if path.name == "__init__.py"
        and module_name(path) not in REEXPORTS
        and len(ast.parse(path.read_text()).body) > 1
    ]
    assert passing == []


def test_a_class_name_means_one_thing() -> None:
    homes = defaultdict(list)
    for path in source_files():
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.ClassDef):
                homes[node.name].append(module_name(path))
    assert {name: places for name, places in homes.items() if len(places) > 1} == {}


def test_only_one_module_replaces_files() -> None:
    writers = [
        module_name(path)
        for path in source_files()
        if re.search(r"\bos\.(replace|rename)\(", path.read_text())
    ]
    assert writers == ["antifragile._files"]


def test_docstrings_say_what_a_thing_is() -> None:
    riddles = [
        f"{module_name(path)}: {line}"
        for path in source_files()
        for text in docstrings(path)
        for line in first_words(text)
        if RIDDLE.match(line)
    ]
    assert riddles == []


def docstrings(path: Path) -> Iterator[str]:
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef):
            yield ast.get_docstring(node) or ""


def first_words(docstring: str) -> Iterator[str]:
    """Yield the opening of a docstring and of every argument line in it."""
    yield docstring
    for match in re.finditer(r"^\s+\**\w+: (.+)$", docstring, re.MULTILINE):
        yield match[1]


def stage_of_import(name: str) -> int:
    parts = name.split(".")
    return STAGES.get(parts[1], 0) if parts[0] == "antifragile" and parts[1:] else 0
