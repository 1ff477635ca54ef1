"""Third-party modules are imported once in the server, unless an import does more than that."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from antifragile.ablate.certify.certificate import open_server
from antifragile.ablate.generation.emit import files_of
from antifragile.ablate.pipeline import find_components
from antifragile.ablate.sandbox.preload import third_party_imports
from antifragile.ablate.source.project import load_project

MODEL = """
{imports}
import torch


def build():
    import late_package
    return torch.nn.Sequential(torch.nn.Linear(2, 2))


def inputs():
    return (torch.zeros(1, 2),)


def other():
    import never_package
"""
CHECK = "assert seeds_package.layer() == 'own'"
PACKAGES = {
    "late_package": "",
    "never_package": "",
    "prints_package": "import os\nprint('hello')\nos.write(1, b'hello')\nos.environ['OWN'] = 'x'",
    "lazy_package": "def __getattr__(name):\n    import lazy_package.part\n    return 1",
    "threads_package": "import threading, time\n"
    "threading.Thread(target=time.sleep, args=(9,), daemon=True).start()",
    "seeds_package": "import random\nrandom.seed(0)",
    "path_package": "import sys\nsys.path.append('/nowhere')",
    "later_path_package": "def go():\n    import sys\n    sys.path.insert(0, 'more')",
    "dtype_package": "import torch\ntorch.set_default_dtype(torch.float64)",
    "fails_package": "raise RuntimeError('no')",
    "exits_package": "raise SystemExit(1)",
    "ends_package": "import os; os.getpid() == os.getpgrp() or os._exit(1)",  # jobs lead a group
    "writes_package": "try:\n    open(__file__ + '.log', 'w')\nexcept OSError:\n    pass",
}


@pytest.fixture
def sites(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder of packages on the import path of this process and of the server's."""
    folder = tmp_path / "site-packages"
    for name, text in PACKAGES.items():
        (folder / name).mkdir(parents=True)
        (folder / name / "__init__.py").write_text(text)
    (folder / "lazy_package" / "part.py").write_text("")
    monkeypatch.syspath_prepend(str(folder))
    monkeypatch.setenv("PYTHONPATH", ":".join([str(folder), *filter(None, sys.path)]))
    return folder


def names_of(folder: Path, imports: str, **neighbours: str) -> tuple[str, ...]:
    """The third-party imports of a model."""
    path = folder / "model.py"
    path.write_text(MODEL.format(imports=imports))
    for name, text in neighbours.items():
        (folder / f"{name}.py").write_text(text)
    project = load_project([path], f"{path}:build", f"{path}:inputs")
    return third_party_imports(project, files_of(project))


def test_imports_of_site_packages_are_found_in_all_files(sites: Path, tmp_path: Path) -> None:
    found = names_of(
        tmp_path,
        "import os, sibling\nfrom lazy_package import Thing",
        sibling="import seeds_package",
    )
    own = [name for name in found if not name.startswith("torch")]
    assert own == ["lazy_package:Thing", "late_package", "seeds_package"]


def test_a_file_of_the_project_hides_a_package(sites: Path, tmp_path: Path) -> None:
    assert "seeds_package" not in names_of(tmp_path, "import seeds_package", seeds_package="")


@pytest.mark.parametrize(
    ("imports", "kept"),
    [
        ("import prints_package", ["prints_package"]),
        ("from lazy_package import Thing", ["lazy_package:Thing"]),
        ("import threads_package", []),
        ("import seeds_package", ["seeds_package"]),
        ("import seeds_package, ends_package", ["seeds_package"]),
        ("import writes_package", ["writes_package"]),
        ("import path_package", []),
        ("import dtype_package; import torch; torch.set_default_dtype(torch.float32)", []),
        ("try:\n    import fails_package\nexcept RuntimeError:\n    pass", []),
        ("try:\n    import exits_package\nexcept SystemExit:\n    pass", []),
    ],
)
def test_an_import_that_does_more_ends_the_list(
    sites: Path, tmp_path: Path, imports: str, kept: list[str]
) -> None:
    names_of(tmp_path, imports)
    path = tmp_path / "model.py"
    with open_server() as server:
        find_components(load_project([path], f"{path}:build", f"{path}:inputs"), server=server)
        found = [name for name in server.packages if not name.startswith(("torch", "late"))]
        assert found == kept
        again = load_project([path], f"{path}:build", f"{path}:inputs")
        find_components(again, server=server)  # what was printed reached no pipe of ours
    assert not [*sites.rglob("*.log")]


@pytest.mark.parametrize(
    "lines",
    ["import sys; sys.path.insert(0, 'more')", "import later_path_package as later; later.go()"],
)
def test_a_model_that_changes_the_import_path_finds_its_own_modules(
    sites: Path, tmp_path: Path, lines: str
) -> None:
    """What a folder that it adds holds comes before a package of the same name."""
    (tmp_path / "more").mkdir()
    (tmp_path / "more" / "seeds_package.py").write_text("def layer():\n    return 'own'\n")
    names_of(tmp_path, f"import late_package\n{lines}\nimport seeds_package")
    path = tmp_path / "model.py"
    text = path.read_text().replace("def build():", "def build():\n    " + CHECK, 1)
    path.write_text(text)
    with open_server() as server:
        find_components(load_project([path], f"{path}:build", f"{path}:inputs"), server=server)
        assert server.packages == ()
