"""A project is found from its files; what is wrong with them is said in one sentence."""

from __future__ import annotations

from pathlib import Path

import pytest

from antifragile.ablate.source.project import load_project, module_name
from antifragile.errors import SpecError
from tests.ablate.model_projects import MODELS, model_project


def write(folder: Path, **texts: str) -> None:
    for name, text in texts.items():
        path = folder / (name.replace("__", "/") + ".py")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)


ENTRY = "def build(): ...\ndef inputs(): ...\n"


def test_a_package_is_imported_by_its_dotted_name() -> None:
    project = model_project("concat_skips")
    assert project.root == str(MODELS)
    assert project.sources == ("concat_skips/net.py", "concat_skips/parts.py")
    assert project.companions == ("concat_skips/__init__.py", "concat_skips_entry.py")
    assert module_name(project, "concat_skips/net.py") == "concat_skips.net"
    assert module_name(project, "concat_skips/__init__.py") == "concat_skips"


def test_a_star_import_brings_its_file_along() -> None:
    path, entry = MODELS / "concat_skips" / "net.py", MODELS / "concat_skips_entry.py"
    project = load_project([path], f"{entry}:build", f"{entry}:inputs")
    assert "concat_skips/parts.py" in project.companions


def test_files_in_two_folders_get_two_search_paths(tmp_path: Path) -> None:
    write(tmp_path, a__model="x = 1\n", b__entry="import model\n" + ENTRY)
    entry = tmp_path / "b" / "entry.py"
    project = load_project([tmp_path / "a" / "model.py"], f"{entry}:build", f"{entry}:inputs")
    assert project.search_paths == ("a", "b")
    assert project.companions == ("b/entry.py",)


def test_an_entry_may_be_named_by_the_file_beside_the_source(tmp_path: Path) -> None:
    write(tmp_path, model=ENTRY)
    project = load_project([tmp_path / "model.py"], "model.py:build", "model.py:inputs")
    assert (project.build.file, project.build.function) == ("model.py", "build")


@pytest.mark.parametrize(
    ("build", "message"),
    [
        ("model.py:biuld", "model.py has no function 'biuld'; did you mean 'build'?"),
        ("model.py", "--build expects FILE.py:function; got 'model.py'"),
        ("other.py:build", "no such file: other.py"),
    ],
)
def test_a_wrong_entry_is_one_sentence(tmp_path: Path, build: str, message: str) -> None:
    write(tmp_path, model=ENTRY)
    with pytest.raises(SpecError) as error:
        load_project([tmp_path / "model.py"], build, "model.py:inputs")
    assert message in str(error.value)


def test_a_syntax_error_names_file_and_line(tmp_path: Path) -> None:
    write(tmp_path, model="x = (1,\n", entry=ENTRY)
    entry = tmp_path / "entry.py"
    with pytest.raises(SpecError, match=r"model\.py:1: '\(' was never closed"):
        load_project([tmp_path / "model.py"], f"{entry}:build", f"{entry}:inputs")


def test_a_missing_source_and_no_source(tmp_path: Path) -> None:
    with pytest.raises(SpecError, match="no such file"):
        load_project([tmp_path / "none.py"], "none.py:build", "none.py:inputs")
    with pytest.raises(SpecError, match="no source file given"):
        load_project([], "none.py:build", "none.py:inputs")


@pytest.mark.parametrize("library", ["site-packages", "lib"])
def test_of_installed_packages_only_the_sources_own_is_local(tmp_path: Path, library: str) -> None:
    packages = tmp_path / library
    write(
        packages,
        net__model="import heavy\nfrom . import parts\nimport net.more\n" + ENTRY,
        net__parts="def f():\n    from heavy.deep import x\n    from .late import y\n",
        net__more="try:\n    import single\nexcept ImportError:\n    from net import rest\n",
        net__late="",
        net__rest="",
        heavy__deep="x = 1",
        single="",
    )
    for name, text in (("net", ""), ("heavy", "from heavy import deep")):
        (packages / name / "__init__.py").write_text(text)
    if library == "lib":
        (packages / "heavy-1.0.dist-info").mkdir()
    write(tmp_path, entry="import net.model, heavy\n" + ENTRY, beside="")
    entry = tmp_path / "entry.py"
    project = load_project([packages / "net" / "model.py"], f"{entry}:build", f"{entry}:inputs")
    names = {Path(file).name for file in project.installed}
    assert names == {"__init__.py", "parts.py", "more.py", "late.py", "rest.py"}
    assert not any("heavy" in file for file in project.installed)
    assert [Path(file).name for file in project.companions] == ["entry.py"]


def test_a_module_of_its_own_among_packages_brings_no_other(tmp_path: Path) -> None:
    write(tmp_path / "site-packages", alone="import other\n" + ENTRY, other="")
    path = tmp_path / "site-packages" / "alone.py"
    assert load_project([path], f"{path}:build", f"{path}:inputs").companions == ()
