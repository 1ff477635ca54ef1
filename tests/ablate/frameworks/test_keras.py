"""Keras 3 on both back ends: nine of ten executed layers get a certified variant, none a false one.

Keras and its back ends may live in another environment than these tests: name its Python in
ANTIFRAGILE_KERAS_PYTHON, or install the extra. Without either, these tests are skipped.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from functools import cache
from pathlib import Path
from typing import Any

import pytest

MODELS = Path(__file__).parents[1] / "keras_models"
SOURCE = Path(__file__).parents[3] / "src"
PYTHON = os.environ.get("ANTIFRAGILE_KERAS_PYTHON", sys.executable)
CERTIFIED = ("certified", "certified-inactive-at-init")
CASES = [
    (model, backend)
    for model in ("sequential", "functional", "subclassed")
    for backend in ("torch", "tensorflow")
]


@cache
def has(package: str) -> bool:
    """Whether that Python can import a package."""
    script = f"import importlib.util as u, sys; sys.exit(u.find_spec({package!r}) is None)"
    return subprocess.run([PYTHON, "-c", script], check=False).returncode == 0


def run(
    folder: Path, backend: str, *words: str, framework: bool = True
) -> subprocess.CompletedProcess[str]:
    """Run the program with Keras on a back end; the study of a folder knows its framework."""
    for package in ("keras", backend):
        if not has(package):
            pytest.skip(f"{package} is not installed for {PYTHON}")
    kept = {key: value for key, value in os.environ.items() if key != "PYTHONPATH"}
    return subprocess.run(
        [PYTHON, "-m", "antifragile", "ablate", *words, *(["--framework", "keras"] * framework)],
        cwd=folder,
        env={**kept, "KERAS_BACKEND": backend, "PYTHONPATH": str(SOURCE)},
        capture_output=True,
        text=True,
        check=False,
    )


def generated(
    folder: Path, model: str, backend: str, *more: str, without: str = ""
) -> dict[str, Any]:
    """What `ablate generate` says of a model, some words of its text left out."""
    file = f"{model}.py"
    text = (MODELS / file).read_text()
    assert without in text
    (folder / file).write_text(text.replace(without, ""))
    words = ["--source", file, "--build", f"{file}:build", "--inputs", f"{file}:inputs"]
    limits = ["--out", "out", "--workers", "2", "--timeout", "250", "--json"]
    ended = run(folder, backend, "generate", *words, *limits, *more)
    assert ended.returncode == 0, ended.stderr
    said: dict[str, Any] = json.loads(ended.stdout)
    return said


@pytest.mark.slow
@pytest.mark.parametrize(("model", "backend"), CASES)
def test_nine_of_ten_executed_layers_are_certified(
    tmp_path: Path, model: str, backend: str
) -> None:
    said = generated(tmp_path, model, backend)
    covered = {item["component"] for item in said["variants"] if item["status"] in CERTIFIED}
    layers = [
        item["name"]
        for item in said["components"]
        if item["ran"] and item["kind"] in ("module", "block", "repeated", "embedding")
    ]
    assert len(layers) >= 10
    assert len(set(layers) & covered) >= 0.9 * len(layers)
    assert not [item for item in said["variants"] if item["status"] == "failed"]


@pytest.mark.slow
@pytest.mark.parametrize("backend", ["torch", "tensorflow"])
def test_every_kind_of_ablation_is_legal_source(tmp_path: Path, backend: str) -> None:
    said = generated(tmp_path, "sequential", backend, "--kinds", "zero,mean,shuffle,freeze")
    statuses = {item["kind"]: set() for item in said["variants"]}
    for item in said["variants"]:
        statuses[item["kind"]].add(item["status"])
    for kind in ("shuffle", "freeze"):
        assert statuses[kind] == {"certified"}
    # a norm behind a mean over features gets zeros: where they are exact, its scale learns nothing
    assert statuses["mean"] - {"refused"} == {"certified"}
    assert "failed" not in statuses["zero"]


@pytest.mark.slow
def test_a_variant_runs_without_us(tmp_path: Path) -> None:
    generated(tmp_path, "sequential", "torch", "--kinds", "identity")
    [folder] = (tmp_path / "out").glob("conv2d--identity")
    script = "import sys; sys.modules['antifragile'] = None; import sequential as s; "
    script += "print(s.build()(*s.inputs()).shape)"
    ended = subprocess.run(
        [PYTHON, "-c", script],
        cwd=folder,
        env={**os.environ, "KERAS_BACKEND": "torch"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert "4, 4" in ended.stdout, ended.stderr


def test_without_keras_one_sentence_says_what_to_install(tmp_path: Path) -> None:
    (tmp_path / "m.py").write_text("def build(): pass\ndef inputs(): pass\n")
    words = ["--source", "m.py", "--build", "m.py:build", "--inputs", "m.py:inputs"]
    script = "import runpy, sys; sys.modules['keras'] = None; "
    script += "runpy.run_module('antifragile', run_name='__main__')"
    ended = subprocess.run(
        [sys.executable, "-c", script, "ablate", "discover", *words, "--framework", "keras"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert ended.returncode == 2
    assert "needs the package 'keras'" in ended.stderr
    assert "antifragile[keras]" in ended.stderr
