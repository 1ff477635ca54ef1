"""Public models out of packages are copied so that they run outside their package."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from benchmarks.trust.wild_models import MODELS, PACKAGES, Wild, with_absolute_imports

TOY = Wild(
    package="toy-models",
    files=("toy_models/nets/net.py",),
    imports="from net_ import Net",
    model="Net()",
    inputs="(torch.zeros(1),)",
)


@pytest.fixture
def site(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder of packages with one package in it."""
    package = tmp_path / "site" / "toy_models"
    (package / "nets").mkdir(parents=True)
    for folder in (package, package / "nets"):
        (folder / "__init__.py").write_text("")
    (package / "sizes.py").write_text("WIDTH = 3\n")
    (package / "nets" / "base.py").write_text("class Base:\n    pass\n")
    (package / "nets" / "net.py").write_text(
        "from . import base\nfrom ..sizes import WIDTH\nfrom .base import Base\n\n\n"
        "class Net(Base):\n    width, parent = WIDTH, base.Base\n"
    )
    metadata = tmp_path / "site" / "toy_models-1.2.dist-info"
    metadata.mkdir()
    (metadata / "METADATA").write_text("Metadata-Version: 2.1\nName: toy-models\nVersion: 1.2\n")
    monkeypatch.syspath_prepend(str(tmp_path / "site"))
    return tmp_path / "site"


def test_a_model_out_of_a_package_runs_outside_it(site: Path, tmp_path: Path) -> None:
    root = TOY.root(None)
    assert root == site
    assert TOY.name == "net of toy-models 1.2"
    TOY.write(root, tmp_path / "copy")
    assert (tmp_path / "copy" / "net_.py").read_text().splitlines()[:3] == [
        "from toy_models.nets import base",
        "from toy_models.sizes import WIDTH",
        "from toy_models.nets.base import Base",
    ]
    command = [sys.executable, "-c", f"import sys; sys.path[:0] = [{str(site)!r}]; import net_"]
    subprocess.run(command, cwd=tmp_path / "copy", check=True)


def test_a_package_that_is_not_installed_has_no_place() -> None:
    wild = replace(TOY, package="no-such-package")
    assert wild.root(None) is None
    assert wild.name == "net of no-such-package (not installed)"


def test_a_repository_is_looked_for_among_the_clones(tmp_path: Path) -> None:
    wild = next(model for model in MODELS if model.repository == "locuslab/TCN")
    assert wild.root(None) is None
    assert wild.root(tmp_path) is None
    (tmp_path / "locuslab+TCN").mkdir()
    assert wild.root(tmp_path) == tmp_path / "locuslab+TCN"


def test_only_relative_imports_change() -> None:
    text = "import torch\nfrom torch import nn\n    from . import late\n"
    assert with_absolute_imports(text, "a/b.py") == text


@pytest.mark.parametrize("wild", PACKAGES, ids=lambda wild: wild.files[0])
def test_the_trial_is_python(wild: Wild) -> None:
    compile(wild.entry, "trial.py", "exec")
