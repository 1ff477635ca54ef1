"""Every benchmark imports, and its folders are small."""

from __future__ import annotations

from importlib import import_module
from pathlib import Path

import pytest

import benchmarks

ROOT = Path(benchmarks.__file__).parent
MODULES = [
    ".".join(path.relative_to(ROOT.parent).with_suffix("").parts).removesuffix(".__init__")
    for path in sorted(ROOT.rglob("*.py"))
]


@pytest.mark.parametrize("name", MODULES)
def test_a_benchmark_imports_without_running(name: str) -> None:
    import_module(name)


def test_no_folder_has_more_than_twelve_files() -> None:
    folders = {path.parent for path in ROOT.rglob("*.py")}
    assert all(len([p for p in folder.iterdir() if p.is_file()]) <= 12 for folder in folders)
