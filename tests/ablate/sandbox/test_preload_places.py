"""Packages outside the project are imported once in the server, wherever they are installed."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from antifragile.ablate.certify.certificate import open_server
from antifragile.ablate.generation.emit import files_of
from antifragile.ablate.pipeline import find_components
from antifragile.ablate.records import Project
from antifragile.ablate.sandbox.preload import third_party_imports
from antifragile.ablate.source.project import load_project

MODEL = """
import {name}
import torch


def build():
    return torch.nn.Sequential(torch.nn.Linear(2, 2))


def inputs():
    return (torch.zeros(1, 2),)
"""


def project_of(folder: Path, name: str) -> Project:
    """A project whose model imports one package."""
    folder.mkdir(exist_ok=True)
    path = folder / "model.py"
    path.write_text(MODEL.format(name=name))
    return load_project([path], f"{path}:build", f"{path}:inputs")


@pytest.fixture
def import_path(monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    """The import path of this process and of servers, for `place_package`."""
    monkeypatch.setenv("PYTHONPATH", ":".join(filter(None, sys.path)))
    return monkeypatch


def place_package(import_path: pytest.MonkeyPatch, folder: Path, name: str, text: str = "") -> None:
    """Write a package and put its folder on the import path."""
    (folder / name).mkdir(parents=True)
    (folder / name / "__init__.py").write_text(text)
    import_path.syspath_prepend(str(folder))
    import_path.setenv("PYTHONPATH", str(folder), prepend=":")


def names_in(project: Project) -> list[str]:
    """The third-party imports beside torch."""
    found = third_party_imports(project, files_of(project))
    return [name for name in found if not name.startswith("torch")]


def test_a_package_in_any_folder_outside_the_project_is_taken(
    import_path: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    place_package(import_path, tmp_path / "libraries", "editable_package")
    project = project_of(tmp_path / "project", "editable_package")
    assert names_in(project) == ["editable_package"]
    with open_server() as server:
        find_components(project, server=server)
        assert "editable_package" in server.packages


def test_a_package_below_the_project_is_not(
    import_path: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    place_package(import_path, tmp_path / "project" / "lib", "vendored_package")
    assert names_in(project_of(tmp_path / "project", "vendored_package")) == []


def test_a_package_of_a_virtual_environment_below_the_project_is(
    import_path: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    folder = tmp_path / "project" / ".venv" / "lib" / "site-packages"
    place_package(import_path, folder, "installed_package")
    assert names_in(project_of(tmp_path / "project", "installed_package")) == ["installed_package"]


def test_modules_of_python_itself_are_not(tmp_path: Path) -> None:
    assert names_in(project_of(tmp_path / "project", "json, sys, os.path")) == []


def test_a_package_that_loads_files_of_the_project_is_not(
    import_path: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    place_package(import_path, tmp_path / "libraries", "plugin_package", "import model_part")
    project = project_of(tmp_path / "project", "plugin_package")
    (tmp_path / "project" / "model_part.py").write_text("SIZE = 2\n")
    with open_server() as server:
        find_components(project, server=server)
        assert "plugin_package" not in server.packages
