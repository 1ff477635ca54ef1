"""A package that is really installed adds a mode, a preset, a data set and an executor."""

from __future__ import annotations

import os
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from antifragile import _plugins
from antifragile._plugins import add_plugins
from antifragile.config import modes, perturbation
from antifragile.config.modes import get_mode, mode_names
from antifragile.data import datasets
from antifragile.data.datasets import dataset_sources
from antifragile.errors import PluginError
from antifragile.store.store import Store

MODULE = '''
"""A mode for the first hidden layer, signs on gradients, two noisy classes, tasks last first."""

import numpy as np

from antifragile.config.modes import Ablation, Mode
from antifragile.config.perturbation import Option, PresetFacts
from antifragile.data.source import DatasetSource
from antifragile.data.splits import SPLIT_NAMES, assemble
from antifragile.optim import Rademacher, Rule
from antifragile.study.executors.base import ExecutorKind
from antifragile.study.executors.serial import SerialExecutor


def choose(widths, rng):
    return 0, int(rng.integers(widths[0]))


def load(access, normalization):
    rng = np.random.default_rng(0)
    labels = np.arange(40) % 2
    images = (rng.random((40, 3)) + labels[:, None]).astype(np.float32) / 2
    parts = zip(SPLIT_NAMES, np.split(np.arange(40), [20, 30]), strict=True)
    return assemble(
        name="two_classes",
        description="made up",
        arrays={which: (images[part], labels[part]) for which, part in parts},
        n_classes=2,
        normalization=normalization,
    )


def signs(size=0.1):
    """Signs of one size on every gradient."""
    return (Rule("grad", Rademacher(), size),)


class LastFirst(SerialExecutor):
    def run(self, tasks):
        return super().run(tasks[::-1])


FIRST_LAYER = Mode(name="first_layer", group="psa", ablation=Ablation(choose=choose))
TWO_CLASSES = DatasetSource(
    name="two_classes", summary="made up", n_inputs=3, n_classes=2, load=load
)
SIGNS = PresetFacts(options={"size": Option(0.1)}, rules=signs)
LAST_FIRST = ExecutorKind(make=LastFirst, in_process=True)
'''
ENTRY_POINTS = """
[antifragile.modes]
first_layer = example_plugin:FIRST_LAYER
[antifragile.datasets]
two_classes = example_plugin:TWO_CLASSES
[antifragile.presets]
signs = example_plugin:SIGNS
[antifragile.executors]
last_first = example_plugin:LAST_FIRST
"""
SPEC = """
name = "plugins"
dataset = "two_classes"
architectures = ["2*4"]
modes = ["none", "first_layer", "signs"]
trials = 2
meta_loops = 4
"""


def install(place: Path, *, module: str = MODULE, entry_points: str = ENTRY_POINTS) -> Path:
    """Install a package of one module with pip, from a wheel, into a new folder."""
    wheel, site = place / "example_plugin-1.0-py3-none-any.whl", place / "site"
    info = "example_plugin-1.0.dist-info"
    with zipfile.ZipFile(wheel, "w") as archive:
        archive.writestr("example_plugin.py", module)
        archive.writestr(
            f"{info}/METADATA", "Metadata-Version: 2.1\nName: example-plugin\nVersion: 1.0\n"
        )
        archive.writestr(f"{info}/WHEEL", "Wheel-Version: 1.0\nTag: py3-none-any\n")
        archive.writestr(f"{info}/entry_points.txt", entry_points)
        archive.writestr(f"{info}/RECORD", "")
    options = ["--quiet", "--no-deps", "--no-index", "--disable-pip-version-check"]
    run([sys.executable, "-m", "pip", "install", *options, "--target", str(site), str(wheel)])
    return site


def run(command: list[str], *, site: Path | None = None, code: int = 0) -> str:
    """Run a command with a folder of packages on its path; return what it printed."""
    path = [] if site is None else [str(site), *filter(None, [os.environ.get("PYTHONPATH")])]
    environment = os.environ | ({"PYTHONPATH": os.pathsep.join(path)} if path else {})
    done = subprocess.run(command, capture_output=True, text=True, env=environment, check=False)
    assert done.returncode == code, done.stderr
    return done.stdout + done.stderr


@pytest.fixture(autouse=True)
def no_plugins_yet(monkeypatch: pytest.MonkeyPatch) -> None:
    """Registries as they are before a plug-in is looked for, and again after the test."""
    monkeypatch.setattr(_plugins, "_added", set())
    monkeypatch.setattr(modes, "_MODES", dict(modes._MODES))
    monkeypatch.setattr(datasets, "_SOURCES", dict(datasets._SOURCES))
    monkeypatch.setattr(perturbation, "PERTURBATIONS", dict(perturbation.PERTURBATIONS))
    monkeypatch.setattr(modes, "PERTURBATIONS", perturbation.PERTURBATIONS)
    monkeypatch.delitem(sys.modules, "example_plugin", raising=False)


def run_study(tmp_path: Path, site: Path, *how: str, store: str = "runs.db", code: int = 0) -> str:
    (tmp_path / "spec.toml").write_text(SPEC)
    command = [sys.executable, "-m", "antifragile", "study", "run", str(tmp_path / "spec.toml")]
    options = ["--store", str(tmp_path / store), *(how or ("--workers", "2"))]
    return run([*command, *options], site=site, code=code)


@pytest.mark.slow
def test_workers_run_an_installed_mode_on_an_installed_data_set(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    site = install(tmp_path)
    run_study(tmp_path, site)
    monkeypatch.syspath_prepend(str(site))
    columns = Store(str(tmp_path / "runs.db")).record_columns("plugins")
    rows = zip(columns["mode"], columns["meta_loop"], columns["ablated_layer"], strict=True)
    found = [(mode, loop > 1, None if layer != layer else layer) for mode, loop, layer in rows]
    assert len(found) == 3 * 2 * 4
    assert set(found) == {
        ("none", False, None),
        ("none", True, None),
        ("first_layer", False, None),
        ("first_layer", True, 0),
        ("signs", False, None),
        ("signs", True, None),
    }
    assert mode_names()[-2:] == ("signs", "first_layer")
    assert dataset_sources()[-1].name == "two_classes"
    run_study(tmp_path, site, "--executor", "last_first", store="again.db")
    again = Store(str(tmp_path / "again.db")).record_columns("plugins")
    key = ["mode", "trial", "meta_loop", "train_loss"]
    both = [sorted(zip(*(c[k] for k in key), strict=True)) for c in (columns, again)]
    assert both[0] == both[1]


def test_a_package_that_cannot_be_imported_is_named_in_one_sentence(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    site = install(tmp_path, module="import a_module_that_is_not_there")
    told = " ".join(run_study(tmp_path, site, code=2).split())
    assert "the plug-in 'signs' of package 'example-plugin'" in told
    assert "(ModuleNotFoundError: No module named 'a_module_that_is_not_there')" in told
    assert "Traceback" not in told
    monkeypatch.syspath_prepend(str(site))
    assert get_mode("full").group == "psa", "built-in modes do without plug-ins"


@pytest.mark.parametrize(
    ("value", "reason"),
    [
        ("first_layer = example_plugin:TWO_CLASSES", "expected a str named 'first_layer'"),
        ("none = example_plugin:NAME", "has a name that is taken"),
        ("other = example_plugin:MISSING", r"cannot be imported \(AttributeError"),
    ],
)
def test_what_does_not_fit_the_registry_is_refused(
    value: str, reason: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    declared = f"[antifragile.words]\n{value}\nword = example_plugin:NAME\n"
    module = "NAME = 'word'\nTWO_CLASSES = 2\n"
    monkeypatch.syspath_prepend(str(install(tmp_path, module=module, entry_points=declared)))
    registry = {"none": "built in"}
    for _ in range(2):  # the second look-up says the same, and is not silently without
        with pytest.raises(PluginError, match=reason):
            add_plugins("antifragile.words", str, registry)
    assert registry == {"none": "built in"}
